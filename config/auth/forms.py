"""Forms of the log-in."""

from __future__ import annotations

from allauth.account import forms


class LoginForm(forms.LoginForm):
    """User name and password. The field keeps the name that password managers know."""

    def add_prefix(self, field_name: str) -> str:
        return str(super().add_prefix("username" if field_name == "login" else field_name))

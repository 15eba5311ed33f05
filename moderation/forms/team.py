"""Forms of the team's pages."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User

from moderation.services import team


class RolesForm(forms.Form):
    """The roles of a person."""

    roles = forms.MultipleChoiceField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["roles"]
        field.choices = [(name, name) for name in team.list_roles()]


class InvitationForm(RolesForm):
    """A mail address, if the link is sent by mail, and at least one role."""

    email = forms.EmailField(required=False, max_length=254)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["roles"].required = True
        self.fields["roles"].error_messages["required"] = "Choose at least one role."


class NewPersonForm(UserCreationForm[User]):
    """The name and the password of an invited person."""

    class Meta(UserCreationForm.Meta):
        model = User
        fields = ("username",)
        labels: ClassVar[dict[str, str]] = {"username": "User name"}
        help_texts: ClassVar[dict[str, str]] = {"username": "Letters, digits and @ . + - _ only."}

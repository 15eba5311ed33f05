"""Passwords that people must not choose, beyond Django's lists."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError

from moderation.roles import ROLES

# Of the product. The parts of the host of PUBLIC_URL and the words of the roles are added.
WORDS = ("loupe", "moderation", "password", "admin")
WORD_MIN = 4  # shorter parts of a host, such as www, are in too many passwords
LEFT_MIN = 8  # characters besides these words, as many as a whole password needs


def list_words() -> list[str]:
    """Return the words that add nothing to a password, the longest first."""
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    found = {*WORDS, *host.split("."), *(word for role in ROLES for word in role.split())}
    return sorted((word for word in found if len(word) >= WORD_MIN), key=lambda word: -len(word))


class InstallationWordsValidator:
    """A validator that refuses passwords made of words of this installation and little else."""

    def validate(self, password: str, user: Any = None) -> None:
        left = whole = password.lower()
        for word in list_words():
            left = left.replace(word, "")
        if left != whole and len(left) < LEFT_MIN:
            raise ValidationError(
                "This password is little more than a name that everybody here knows.",
                code="password_of_installation_words",
            )

    def get_help_text(self) -> str:
        return "Your password can’t be little more than a name that everybody here knows."

"""System checks for `manage.py check --deploy`: valid settings that are probably mistakes."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning


def check_classifiers_can_run(**kwargs: Any) -> list[CheckMessage]:
    """Warn when no classifier can run because the only provider is off."""
    if set(settings.CLASSIFIERS) - {"hashes"} != {"novita"} or settings.IMAGE_PROVIDERS:
        return []
    return [
        Warning(
            "CLASSIFIERS names novita alone, and NOVITA_API_KEY is empty, so no image can be"
            " classified.",
            hint=(
                "Set NOVITA_API_KEY, or name another classifier in CLASSIFIERS. Until then a person"
                " decides every image."
            ),
            id="loupe.W001",
        )
    ]


def check_record_can_be_sealed(**kwargs: Any) -> list[CheckMessage]:
    """Warn without a key of the record, which also encrypts second factors."""
    if settings.RECORD_KEY:
        return []
    return [
        Warning(
            "RECORD_KEY is empty, so the record of decisions cannot be sealed: whoever can write to"
            " the database could rewrite it without a trace. The secrets of second factors are not"
            " encrypted.",
            hint=(
                "Set RECORD_KEY to 50 random characters in every process, keep a copy outside of"
                " this server, then run manage.py seal_record."
            ),
            id="loupe.W002",
        )
    ]

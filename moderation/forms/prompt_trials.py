"""The form that starts a prompt trial."""

from __future__ import annotations

from typing import Any

from django import forms

from moderation.prompt_rules import TEXT_MAX, PromptRuleError, parse_rule
from moderation.services.prompt_trials import DAYS


def _text_field(label: str, rows: int, **options: Any) -> forms.CharField:
    attributes = {"rows": rows, "dir": "auto", "spellcheck": "false", "autocomplete": "off"}
    return forms.CharField(
        label=label, max_length=TEXT_MAX, widget=forms.Textarea(attrs=attributes), **options
    )


class PromptTrialForm(forms.Form):
    """A rule, the phrases that it lets pass, and the window."""

    rule = _text_field(
        "Block prompts with",
        5,
        error_messages={"required": "Write at least one word that blocks."},
        help_text="One alternative a line. Words next to each other are a phrase. AND, OR, NOT and"
        " parentheses join them; a star at the end matches beginnings: nud*.",
    )
    allowed = _text_field(
        "But never because of",
        3,
        required=False,
        help_text="Allowed phrases, one a line, such as: naked mole rat.",
    )
    days = forms.TypedChoiceField(
        label="Requests of the last",
        choices=[(days, f"{days} days") for days in DAYS],
        coerce=int,
        initial=DAYS[1],
        error_messages={"required": "Choose how many days of requests to try it on."},
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "rule" in cleaned and "allowed" in cleaned:
            try:
                parse_rule(cleaned["rule"], cleaned["allowed"])
            except PromptRuleError as error:
                self.add_error("rule", str(error))
        return cleaned

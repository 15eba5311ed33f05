"""Forms of retention rules, erasures and legal holds."""

from __future__ import annotations

from typing import Any

from django import forms

from generation.models import GenerationRequest, Source
from moderation.models import RetentionRule
from moderation.search.query import UUID_TEXT

REASON_MAX = 200
END_USER_MAX = 200


def _reason(help_text: str) -> forms.CharField:
    return forms.CharField(
        max_length=REASON_MAX,
        help_text=help_text,
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
        error_messages={"required": "Write a reason."},
    )


def _end_user(help_text: str) -> forms.CharField:
    return forms.CharField(
        label="End user",
        max_length=END_USER_MAX,
        help_text=help_text,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "dir": "auto"}),
        error_messages={"required": "Write the end user's id."},
    )


class RetentionRuleForm(forms.ModelForm[RetentionRule]):
    """A rule. It is stored switched off, whatever it was before."""

    class Meta:
        model = RetentionRule
        fields = ("name", "days", "status", "source", "end_user", "purges_texts", "purges_hashes")
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
            "end_user": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        }

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        source = self.fields["source"]
        assert isinstance(source, forms.TypedChoiceField)
        source.choices = [("", "Any"), *Source.choices]


class ErasureForm(forms.Form):
    end_user = _end_user("Id as programs send it in the header X-Loupe-End-User.")
    reason = _reason("For the history, for example the number of the person's letter.")
    confirmed = forms.BooleanField(required=False)


class HoldForm(forms.Form):
    """A hold on a request or an end user, by id."""

    target = forms.CharField(
        label="Request or end user",
        max_length=END_USER_MAX,
        help_text="The id of a request, or the id of an end user as programs send it.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "dir": "auto"}),
        error_messages={"required": "Write the id of a request or of an end user."},
    )
    reason = _reason("For the history, for example the number of the case.")

    def find_request(self) -> GenerationRequest | None:
        """Return the request with the given id, or None: it is an end user then."""
        text = str(self.cleaned_data["target"]).strip().lower()
        if not UUID_TEXT.fullmatch(text):
            return None
        return GenerationRequest.objects.filter(uuid=text).first()


class ReasonForm(forms.Form):
    """A reason alone: of a hold on images, or of a lift."""

    reason = _reason("For the history, for example the number of the case.")

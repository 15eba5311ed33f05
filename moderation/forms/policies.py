"""Forms of policies in the admin site."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from generation.models import Source
from moderation import classifiers, taxonomy
from moderation.classifiers.base import Stage
from moderation.models import AskRule, EarnedTrust, Policy, PolicyRule

EMPTY = ("", "Choose a classifier")  # so that an empty row counts as empty


class AskRuleForm(forms.ModelForm[AskRule]):
    """The conditions on which a classifier is asked."""

    classifier = forms.ChoiceField(
        help_text="Classifiers that run first are free, so they have no rule."
    )
    sources = forms.MultipleChoiceField(
        label="only for",
        choices=Source.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: for images of every source.",
    )

    class Meta:
        model = AskRule
        fields = ("classifier", "asks_from", "skips_rejected", "sources", "share")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["classifier"]
        assert isinstance(field, forms.ChoiceField)
        slugs = {
            slug
            for slug in settings.CLASSIFIER_BACKENDS
            if classifiers.get_stage(slug) > Stage.DELIVERED
        }
        # The classifier of a copied rule may have been removed since.
        slugs |= {self.instance.classifier} if self.instance.classifier else set()
        field.choices = [EMPTY, *((slug, classifiers.label(slug)) for slug in sorted(slugs))]


class EarnedTrustForm(forms.ModelForm[EarnedTrust]):
    """The misses up to which the silence of a classifier counts for a category."""

    classifier = forms.ChoiceField()

    class Meta:
        model = EarnedTrust
        fields = ("classifier", "category", "misses_max", "days")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["classifier"]
        assert isinstance(field, forms.ChoiceField)
        slugs = {slug for slug in settings.CLASSIFIER_BACKENDS if not classifiers.is_lookup(slug)}
        slugs |= {self.instance.classifier} if self.instance.classifier else set()
        field.choices = [EMPTY, *((slug, classifiers.label(slug)) for slug in sorted(slugs))]


class PolicyRuleForm(forms.ModelForm[PolicyRule]):
    """The thresholds of one category."""

    class Meta:
        model = PolicyRule
        fields = ("category", "review_at", "blur_at", "reject_at")
        # The limits have their help texts in the model.
        help_texts = {
            "category": (
                "A rule of a first level applies to its second levels without a rule of their "
                "own. A category without any rule is ignored. A finding without a confidence "
                "always goes to a person."
            ),
        }


def _list_silences() -> list[tuple[str, str]]:
    """Return the classifiers that a policy may trust, each with a sentence about its silence."""
    return [
        (slug, f"{classifiers.label(slug)}. {classifiers.describe_silence(slug)}")
        for slug in classifiers.list_untrusted()
    ]


class PolicyForm(forms.ModelForm[Policy]):
    """The settings of a policy, with a help text for every line of its page."""

    trusted_silences = forms.MultipleChoiceField(
        label="Counts “nothing found” of",
        choices=_list_silences,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    accepted_unchecked = forms.MultipleChoiceField(
        label="Approves although nothing checked",
        choices=[(category.slug, category.name) for category in taxonomy.L1],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=Policy._meta.get_field("accepted_unchecked").help_text,
    )

    class Meta:
        # The admin page names the model and the fields.
        help_texts = {
            "name": "Shown with every decision of the policy.",
            "version": "Given by Loupe. Decisions name it.",
            "is_active": (
                "One policy is in force at a time. To replace it, propose another version on its "
                "page under Policies."
            ),
            "created_by": "Empty: made by a command or during installation.",
            "created_at": "Times are UTC.",
            "first_in_force": "A policy that has been used can only be copied.",
            "last_in_force": "All activations are listed below.",
            "savings": "Money not spent because the policy did not ask a classifier.",
            "silence_names": "Classifiers whose “nothing found” counts for what they cover.",
            "unchecked_names": "Categories that need no check.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        silences = self.fields.get("trusted_silences")
        if not isinstance(silences, forms.MultipleChoiceField):
            return
        # A removed classifier stays visible, so that saving the form does not drop it silently.
        removed = set(self.instance.trusted_silences) - {slug for slug, _ in _list_silences()}
        silences.choices = [
            *_list_silences(),
            *((slug, f"{slug}. {classifiers.describe_silence(slug)}") for slug in sorted(removed)),
        ]
        by_itself = [
            classifiers.label(slug)
            for slug in settings.CLASSIFIER_BACKENDS
            if classifiers.silence_counts(slug)
        ]
        silences.help_text = (
            "A chosen classifier's “nothing found” counts for the categories that it covers, and "
            f"for no others. These count without being chosen: {', '.join(by_itself)}."
        )

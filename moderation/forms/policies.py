"""Forms of policies in the admin site."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings

from generation.models import Source
from moderation import classifiers
from moderation.classifiers.base import Stage
from moderation.models import AskRule


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
        field.choices = [(slug, classifiers.label(slug)) for slug in sorted(slugs)]

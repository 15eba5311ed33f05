"""Form of an order to run classifiers again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from moderation import classifiers
from moderation.models import Reclassification
from moderation.models.earlier_verdicts import KNOWN_IMAGES
from moderation.services.reclassification import PER_MINUTE, PER_MINUTE_MAX, Selection

Scope = Reclassification.Scope
OFFERED = (Scope.IMAGES, Scope.QUEUE, Scope.FAILED, Scope.UNSEEN)


class ReclassificationForm(forms.Form):
    """The images, the classifiers and the rate."""

    scope = forms.ChoiceField(choices=[(scope.value, scope.label) for scope in OFFERED])
    queue = forms.CharField(required=False, max_length=300)
    classifiers = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="Only these classifiers"
    )
    per_minute = forms.IntegerField(
        min_value=1, max_value=PER_MINUTE_MAX, initial=PER_MINUTE, label="Images per minute"
    )

    # The order that the page with the estimate offers, so that two clicks start it once.
    order = forms.UUIDField(required=False)

    def __init__(self, data: QueryDict) -> None:
        given = data.copy()
        given.setdefault("scope", Scope.FAILED)
        given.setdefault("per_minute", str(PER_MINUTE))
        super().__init__(given)
        self.assets = tuple(dict.fromkeys(data.getlist("asset")))
        field: Any = self.fields["classifiers"]
        field.choices = [
            (one.slug, one.label) for one in classifiers.active() if one.slug != KNOWN_IMAGES
        ]

    @property
    def selection(self) -> Selection:
        """Return the selection of a valid form."""
        scope = Scope(self.cleaned_data["scope"])
        targets = {Scope.IMAGES: self.assets, Scope.QUEUE: (self.cleaned_data["queue"],)}
        return Selection(
            scope=scope,
            target=targets.get(scope, ()),
            classifiers=tuple(self.cleaned_data["classifiers"]),
        )

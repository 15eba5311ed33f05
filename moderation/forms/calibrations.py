"""The form that starts a calibration session."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User

from moderation import taxonomy
from moderation.models import Review
from moderation.services import calibrations

SOURCES = [
    (calibrations.DISPUTED, "Images that two people judged differently"),
    (calibrations.MIXED, "Any images that people decided"),
    *((l1.slug, l1.name) for l1 in taxonomy.L1),
]


class CalibrationForm(forms.Form):
    """Title, people, and where the images come from."""

    title = forms.CharField(label="Title", max_length=100)
    # Choices of the form, not rows: values beyond the database's integers are then just unknown.
    people = forms.MultipleChoiceField(
        label="People",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least two people."},
    )
    source = forms.ChoiceField(label="Draw images from", choices=SOURCES)
    count = forms.IntegerField(
        label="Number of images", min_value=1, max_value=calibrations.IMAGES_MAX, initial=10
    )
    uuids = forms.CharField(
        label="Or these images",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="Ids of settled images, separated by spaces. Nothing is drawn then.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._able = {str(person.pk): person for person in calibrations.list_possible_people()}
        people = self.fields["people"]
        assert isinstance(people, forms.MultipleChoiceField)
        people.choices = [(pk, person.get_username()) for pk, person in self._able.items()]

    def clean_people(self) -> list[User]:
        return [self._able[pk] for pk in self.cleaned_data["people"]]

    def choose_reviews(self) -> list[Review]:
        """Return the named images, or drawn ones. Raises CalibrationError."""
        given = self.cleaned_data
        if names := given["uuids"].replace(",", " ").split():
            return calibrations.find_reviews(names)
        return calibrations.draw_reviews(
            source=given["source"], count=given["count"], people=given["people"]
        )

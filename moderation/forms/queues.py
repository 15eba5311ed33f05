"""Forms of a queue's page: filters, and saving them under a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from generation import providers
from generation.models import Source
from moderation import taxonomy
from moderation.queues import ORDERS, UNCATEGORISED, Filters, Queue, format_duration

RISKS = (50, 70, 80, 90, 95, 100)
HOURS = (1, 4, 12, 24, 72, 168)
NAME_MAX = 60


class QueueFilterForm(forms.Form):
    """The filters as fields, for display only.

    ``Filters.read`` reads the URL and ignores invalid values.
    """

    category = forms.ChoiceField(required=False)
    source = forms.ChoiceField(required=False)
    provider = forms.ChoiceField(required=False)
    risk = forms.ChoiceField(label="Risk", required=False)
    hours = forms.ChoiceField(label="Waiting", required=False)
    order = forms.ChoiceField(required=False)
    import_set = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, filters: Filters) -> None:
        super().__init__(initial=filters.query_params())
        l1 = [(category.slug, category.name) for category in taxonomy.L1]
        offered = {
            "category": [("", "Any"), *l1, (UNCATEGORISED, "No category")],
            "source": [("", "Any"), *Source.choices],
            "provider": [("", "Any"), *providers.list_labels().items()],
            "risk": [
                ("", "Any"),
                *((str(least), f"{least} or more") for least in _include(RISKS, filters.risk)),
            ],
            "hours": [
                ("", "Any time"),
                *(
                    (str(h), f"{format_duration(h)} or longer")
                    for h in _include(HOURS, filters.hours)
                ),
            ],
            "order": [
                ("" if order == "risk" else order, name) for order, (name, _) in ORDERS.items()
            ],
        }
        if filters.provider and filters.provider not in providers.list_labels():
            offered["provider"].append((filters.provider, filters.provider))
        if not filters.import_set:
            del self.fields["import_set"]
        for name, choices in offered.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = choices


def _include(offered: Iterable[int], chosen: int) -> list[int]:
    """Return the offered values, with the chosen one from the URL if it is another."""
    return sorted({*offered, *filter(None, (chosen,))})


class SavedQueueForm(forms.Form):
    name = forms.CharField(
        max_length=NAME_MAX,
        error_messages={
            "required": "Give the queue a name.",
            "max_length": f"A name has at most {NAME_MAX} characters.",
        },
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
    )
    is_shared = forms.BooleanField(label="For everybody", required=False)

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())

    @classmethod
    def for_queue(cls, queue: Queue) -> SavedQueueForm:
        return cls(initial={"name": queue.in_words[:NAME_MAX]})

    def add_problem(self, problem: Any) -> None:
        self.add_error("name", str(problem))

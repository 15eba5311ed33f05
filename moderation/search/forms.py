"""The search form. Invalid values are errors: ignoring them would answer another question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.validators import MaxValueValidator
from django.utils.choices import flatten_choices
from django.utils.dates import WEEKDAYS

from generation.models import Source
from generation.wire.parsing import parse_integer, parse_keyset
from moderation.forms.decisions import CATEGORY_TREE, DELIVERED
from moderation.models import Review
from moderation.search import by_risk, known
from moderation.search.query import SEED_MAX, UUID_TEXT, Query, QueryError, parse

ANY = ("", "Any")
RISK = "risk"
HELD, STORED, REMOVED = "held", "stored", "removed"
KEPT = [(HELD, "On legal hold"), (STORED, "Stored"), (REMOVED, "Removed for good")]
LIKE = re.compile(r"(?P<sha256>[0-9a-f]{64})(?:\.(?P<pdq>[0-9a-f]{64}))?")


class Like(NamedTuple):
    """Target of a search by likeness: the hashes of an upload, or a stored image."""

    sha256: str = ""
    pdq: str = ""
    asset: UUID | None = None


def _choice_field(label: str, choices: Any, noun: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        required=False,
        choices=choices,
        error_messages={"invalid_choice": f"“%(value)s” is not a {noun}."},
    )


def enumerate_weekdays() -> Iterator[tuple[str, str]]:
    """Yield the days of the week from 0 (Monday)."""
    return ((str(number), str(name)) for number, name in WEEKDAYS.items())


def _day_field(label: str) -> forms.DateField:
    return forms.DateField(
        label=label,
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": "Write the day as year-month-day, 2026-11-26."},
    )


def _text_field(label: str, maximum: int, **attributes: str) -> forms.CharField:
    widget = forms.TextInput(
        attrs={"autocomplete": "off", "spellcheck": "false", "dir": "auto", **attributes}
    )
    return forms.CharField(label=label, required=False, max_length=maximum, widget=widget)


class SearchForm(forms.Form):
    """All parameters of a search.

    ``q`` and ``like`` are the query, the fields between them are filters. The position in the
    results is ``before`` if the newest come first, and ``after`` in the order of risk.
    """

    q = forms.CharField(required=False)
    status = _choice_field("Status", [ANY, *Review.Status.choices], "status")
    delivered = _choice_field("Delivered", [ANY, *DELIVERED], "form of delivery")
    category = _choice_field("Found by classifiers", [ANY, *CATEGORY_TREE], "category")
    named = _choice_field("Named by people", [ANY, *CATEGORY_TREE], "category")
    source = _choice_field("Source", [ANY, *Source.choices], "source")
    provider = _choice_field("Provider", [ANY], "provider")
    model = _text_field("Model", 255, list="known-models", placeholder="Part of its name")
    lora = _text_field("LoRA", 255, placeholder="Its whole name")
    requester = _text_field("Requested by", 150, placeholder="User or API key")
    end_user = _text_field("End user", 200, placeholder="Id as programs send it")
    kept = _choice_field("Files", [ANY, *KEPT], "state of files")
    seed = forms.CharField(
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
    )
    start = _day_field("From")
    end = _day_field("To")
    hour = _choice_field("Hour, UTC", [ANY, *((str(n), f"{n:02}:00") for n in range(24))], "hour")
    weekday = _choice_field("Day of the week", [ANY, *enumerate_weekdays()], "day of the week")
    order = forms.ChoiceField(
        label="Order",
        required=False,
        choices=[("", "Newest first"), (RISK, "Riskiest first, only waiting images")],
        error_messages={"invalid_choice": "“%(value)s” is not an order. Write risk, or nothing."},
    )
    like = forms.CharField(required=False, widget=forms.HiddenInput)
    wide = forms.BooleanField(required=False, widget=forms.HiddenInput)
    before = forms.IntegerField(
        required=False,
        min_value=1,
        validators=[MaxValueValidator(SEED_MAX)],
        widget=forms.HiddenInput,
    )
    after = forms.CharField(required=False, widget=forms.HiddenInput)

    FILTERS = (
        "status",
        "delivered",
        "category",
        "named",
        "source",
        "provider",
        "model",
        "lora",
        "requester",
        "end_user",
        "kept",
        "seed",
        "start",
        "end",
        "hour",
        "weekday",
        "order",
    )

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        provider = self.fields["provider"]
        assert isinstance(provider, forms.ChoiceField)
        provider.choices = [ANY, *known.list_providers().items()]
        for name in self.FILTERS:
            self.fields[name].widget.attrs["form"] = "search"  # rendered outside the form element

    def clean_q(self) -> Query:
        try:
            return parse(self.cleaned_data["q"])
        except QueryError as error:
            raise forms.ValidationError(str(error)) from None

    def clean_seed(self) -> int | None:
        text = self.cleaned_data["seed"].strip()
        if not text:
            return None
        seed = parse_integer(text, high=SEED_MAX)
        if seed is None:
            raise forms.ValidationError(f"A seed is a whole number from 0 to {SEED_MAX}.")
        return seed

    def clean_model(self) -> list[str]:
        text = self.cleaned_data["model"]
        found = known.match_models(text) if text else []
        if text and not found:
            raise forms.ValidationError(f"No model of any request has “{text[:60]}” in its name.")
        return found

    def clean_requester(self) -> tuple[list[int], list[int]]:
        text = self.cleaned_data["requester"]
        users, keys = known.match_people(text) if text else ([], [])
        if text and not users and not keys:
            raise forms.ValidationError(
                f"No user and no API key has a name that begins with “{text[:60]}”."
            )
        return users, keys

    def clean_end_user(self) -> str:
        return str(self.cleaned_data["end_user"]).replace("\0", "").strip()

    def clean_like(self) -> Like:
        text = self.cleaned_data["like"].lower()
        if UUID_TEXT.fullmatch(text):
            return Like(asset=UUID(text))
        match = LIKE.fullmatch(text)
        if text and match is None:
            raise forms.ValidationError(
                "This URL names no image to compare with. Choose the file again."
            )
        return Like(match["sha256"], match["pdq"] or "") if match else Like()

    def clean_after(self) -> tuple[int, int] | None:
        text = self.cleaned_data["after"]
        place = parse_keyset(text, parts=2)
        if text and (place is None or max(place) > SEED_MAX):
            raise forms.ValidationError("This URL names no place in the results. Search again.")
        return (place[0], place[1]) if place else None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        query, like = cleaned.get("q"), cleaned.get("like")
        if query and query.looks and (query.digest or (like and any(like))):
            self.add_error("q", "Search by a picture or a hash, or by looks:. Remove one of them.")
        start, end = cleaned.get("start"), cleaned.get("end")
        if start and end and start > end:
            self.add_error("end", "This day is before the first one.")
        if cleaned.get("order") == RISK:
            self._check_risk_order(cleaned)
        return cleaned

    def _check_risk_order(self, cleaned: dict[str, Any]) -> None:
        query: Query | None = cleaned.get("q")
        if any(cleaned.get("like") or ()) or (query and (query.digest or query.looks)):
            self.add_error("order", "Similar images come in the order of their similarity.")
        elif cleaned.get("delivered"):
            self.add_error("order", "Delivered images are decided: they have no order by risk.")
        elif cleaned.get("status") and cleaned["status"] not in by_risk.STATUSES:
            self.add_error(
                "order",
                "Only images that wait for a decision have an order by risk. Choose another"
                " status, or none.",
            )

    @property
    def created(self) -> tuple[datetime | None, datetime | None]:
        """The range of arrival: start (inclusive) and end (exclusive), UTC."""
        start, end = self.cleaned_data["start"], self.cleaned_data["end"]
        return _midnight(start) if start else None, _midnight(end, after=1) if end else None

    @property
    def given(self) -> dict[str, str]:
        """The parameters that are set, except the position in the results."""
        return {
            name: self.data[name]
            for name in self.fields
            if name not in ("before", "after") and self.data.get(name)
        }

    @property
    def filters(self) -> dict[str, str]:
        return {name: value for name, value in self.given.items() if name in self.FILTERS}

    @property
    def narrowing(self) -> Iterator[forms.BoundField]:
        return (self[name] for name in self.FILTERS)

    @property
    def hidden_errors(self) -> list[str]:
        """Errors of parameters without a visible field."""
        return [
            str(error)
            for name in ("like", "before", "after", NON_FIELD_ERRORS)
            for error in self.errors.get(name, [])
        ]

    @property
    def chips(self) -> Iterator[tuple[str, str, str]]:
        """Yield the label, displayed value and removal URL of each filter that is set."""
        for name, value in self.filters.items():
            field = self.fields[name]
            choices: Any = field.choices if isinstance(field, forms.ChoiceField) else ()
            names: dict[Any, Any] = dict(flatten_choices(choices))
            yield (
                str(self[name].label),
                str(names.get(value, value)),
                self.build_query(**{name: None}),
            )

    def build_query(self, **changes: Any) -> str:
        """Return the query string with changes; None removes a parameter."""
        parts = {**self.given, **changes}
        return urlencode({name: value for name, value in parts.items() if value is not None})

    # Query strings for links.

    @property
    def without_filters(self) -> str:
        return self.build_query(**dict.fromkeys(self.FILTERS))

    @property
    def without_picture(self) -> str:
        return self.build_query(like=None, wide=None)

    @property
    def wider(self) -> str:
        return self.build_query(wide="on")

    @property
    def closer(self) -> str:
        return self.build_query(wide=None)


def _midnight(day: date, *, after: int = 0) -> datetime:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return midnight + timedelta(days=after) if day < date.max else midnight

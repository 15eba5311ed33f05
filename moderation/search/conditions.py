"""Search conditions. Each one offers two ways of execution, and the plan chooses.

``filter`` returns a condition on one review, for a walk over the newest reviews. ``ids`` returns
all matching asset ids by an own index, or None if there are too many.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Lower
from django.db.models.lookups import Exact

from generation.models import Asset, AssetText, GenerationRequest
from generation.services.purging import find_by_end_user
from moderation import taxonomy
from moderation.models import Label, NamedCategory, Review
from moderation.models.found_categories import HasFound, combine_bits
from moderation.models.retention import is_held
from moderation.models.reviews import ReviewQuerySet
from moderation.search import sample
from moderation.search.query import Term

# An index is read completely only up to this number of rows.
RARE = 10_000
# Cost limit for intersecting lists of the word index: the length of the shortest list, times the
# number of lists.
INTERSECTION_COST_MAX = 300_000


@dataclass(frozen=True, slots=True)
class Span:
    """A range of asset ids to search; ids follow arrival."""

    since: int
    before: int

    def __contains__(self, asset_id: int) -> bool:
        return self.since <= asset_id < self.before


class Condition(Protocol):
    """The interface of a search condition."""

    def filter(self) -> Q: ...

    def ids(self, span: Span) -> list[int] | None: ...


@dataclass(frozen=True, slots=True)
class Named:
    """Only these images."""

    assets: Collection[int]

    def filter(self) -> Q:
        return Q(asset_id__in=id_list(self.assets))

    def ids(self, span: Span) -> list[int] | None:
        return list(self.assets)


@dataclass(frozen=True, slots=True)
class NotAmong:
    """All images except these few."""

    assets: Collection[int]

    def filter(self) -> Q:
        return ~Q(asset_id__in=id_list(self.assets))

    def ids(self, span: Span) -> list[int] | None:
        return None


@dataclass(frozen=True, slots=True)
class Columns:
    """Equality in columns of the review (status, source, provider), and a found category."""

    values: Mapping[str, str] = field(default_factory=dict)
    found: str = ""  # L1 or L2

    def filter(self) -> Q:
        """Build the condition, with the columns wrapped in a function.

        Otherwise the planner uses an index on these columns and sorts all matches.
        """
        q = Q()
        for column, value in self.values.items():
            q &= Q(Exact(Coalesce(column, Value("")), value))
        if self.found:
            q &= Q(HasFound(combine_bits([self.found])))
        if "." in self.found:  # the column has L1 categories only
            q &= Q(
                Exists(
                    _find_labels([self.found]).filter(classification__asset_id=OuterRef("asset_id"))
                )
            )
        return q

    def ids(self, span: Span) -> list[int] | None:
        for rows in self._by_one_index():
            if _is_few(rows):
                return list(rows.filter(self.filter()).values_list("asset_id", flat=True))
        return None

    def _by_one_index(self) -> Iterator[ReviewQuerySet]:
        """Yield the rows that each usable index finds alone.

        Undecided reviews use the indexes of the queues (Review.Meta).
        """
        others = {column: value for column, value in self.values.items() if column != "status"}
        status = Review.Status(self.values["status"]) if "status" in self.values else None
        if self.found:
            yield from self._by_label(status)
        for column, value in others.items():
            if status is None or status in Review.DECIDED:
                yield Review.objects.alias(lower=Lower(column)).filter(lower=value.lower())
            else:
                yield Review.objects.with_status(status).filter(**{column: value})
        if status is not None:
            yield Review.objects.with_status(status)

    def _by_label(self, status: Review.Status | None) -> Iterator[ReviewQuerySet]:
        if status is not None and status not in Review.DECIDED:
            yield Review.objects.with_status(status).filter(HasFound(combine_bits([self.found])))
        slugs = [self.found, *(child.slug for child in taxonomy.list_children(self.found))]
        assets = _fetch_few(_find_labels(slugs), "classification__asset_id")
        if assets is not None:
            yield Review.objects.filter(asset_id__in=id_list(assets))


@dataclass(frozen=True, slots=True)
class Delivered:
    """Approved, and delivered blurred or unblurred."""

    is_blurred: bool

    def filter(self) -> Q:
        """Build the condition, with the columns wrapped in a function as in ``Columns``."""
        return Q(Exact(Coalesce("status", Value("")), Review.Status.APPROVED)) & Q(
            Exact(Coalesce("is_blurred", Value(False)), self.is_blurred)
        )

    def ids(self, span: Span) -> list[int] | None:
        if not self.is_blurred:
            return None
        # Few images are blurred: a partial index has them all.
        return _fetch_few(Review.objects.filter(is_blurred=True), "asset_id")


@dataclass(frozen=True, slots=True)
class Words:
    """Words of the prompt."""

    terms: Sequence[Term]

    @property
    def _wanted(self) -> list[Term]:
        return [term for term in self.terms if not term.is_excluded]

    def filter(self) -> Q:
        q = Q()
        if self._wanted:
            q &= Q(Exists(_find_texts(self._wanted)))
        for term in self.terms:
            if term.is_excluded:
                q &= ~Q(Exists(_find_texts([term])))
        return q

    def ids(self, span: Span) -> list[int] | None:
        whole = [word for term in self._wanted for word in term.whole_words]
        drawn = sample.get_sample()
        begun = [
            term.prefix
            for term in self._wanted
            if term.is_prefix and drawn.how_many([f" {term.prefix}"]) <= INTERSECTION_COST_MAX
        ]
        needles = [*(f" {word} " for word in whole), *(f" {prefix}" for prefix in begun)]
        shortest = min(
            (drawn.how_many([needle]) for needle in needles), default=INTERSECTION_COST_MAX + 1
        )
        if shortest * len(needles) > INTERSECTION_COST_MAX or drawn.how_many(needles) > RARE:
            return None
        found = AssetText.with_words(
            whole, begun, since=span.since, before=span.before, limit=RARE + 1
        )
        if len(found) > RARE:
            return None
        if len(whole) + len(begun) == len(self.terms):
            return found
        rows = Review.objects.filter(self.filter(), asset_id__in=id_list(found))
        return list(rows.values_list("asset_id", flat=True))


@dataclass(frozen=True, slots=True)
class Seed:
    """The seed of the image or of its request."""

    number: int

    def filter(self) -> Q:
        return _asset_exists(Q(seed=self.number) | Q(request__seed=self.number))

    def ids(self, span: Span) -> list[int] | None:
        own = _fetch_few(Asset.objects.filter(seed=self.number))
        asked = _fetch_few_images(GenerationRequest.objects.filter(seed=self.number))
        return None if own is None or asked is None else [*{*own, *asked}]


@dataclass(frozen=True, slots=True)
class Model:
    """The model of the request."""

    names: Sequence[str]

    def filter(self) -> Q:
        return _asset_exists(Q(request__model_name__in=self.names))

    def ids(self, span: Span) -> list[int] | None:
        return _fetch_few_images(GenerationRequest.objects.filter(model_name__in=self.names))


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA of the request, by its whole name.

    Compares the stored JSON as text, because SQLite has no operator for lists of objects. SQLite
    stores letters outside of ASCII escaped, PostgreSQL as they are.
    """

    name: str

    def filter(self) -> Q:
        q = Q()
        for is_ascii in (True, False):
            needle = f'"model_name": {json.dumps(self.name, ensure_ascii=is_ascii)}'
            q |= Q(loras_text__contains=needle)
        requests = GenerationRequest.objects.alias(loras_text=Cast("loras", TextField()))
        rows = requests.filter(q, assets=OuterRef("asset_id"))
        return Q(Exists(rows))

    def ids(self, span: Span) -> list[int] | None:
        return None


@dataclass(frozen=True, slots=True)
class Requester:
    """The person or API key that requested or imported the image."""

    users: Sequence[int]
    keys: Sequence[int]

    def filter(self) -> Q:
        asked = Q(request__requested_by__in=self.users) | Q(request__api_key__in=self.keys)
        stored = Q(stored_by__in=self.users) | Q(api_key__in=self.keys)
        return _asset_exists(asked | stored)

    def ids(self, span: Span) -> list[int] | None:
        stored = _fetch_few(
            Asset.objects.filter(Q(stored_by__in=self.users) | Q(api_key__in=self.keys))
        )
        asking = Q(requested_by__in=self.users) | Q(api_key__in=self.keys)
        asked = (
            None if stored is None else _fetch_few_images(GenerationRequest.objects.filter(asking))
        )
        return None if stored is None or asked is None else [*{*stored, *asked}]


@dataclass(frozen=True, slots=True)
class EndUser:
    """The end user for whom a program requested or sent the image."""

    end_user: str

    def filter(self) -> Q:
        return _asset_exists(find_by_end_user(self.end_user))

    def ids(self, span: Span) -> list[int] | None:
        stored = _fetch_few(Asset.objects.filter(end_user=self.end_user))
        if stored is None:
            return None
        asked = _fetch_few_images(GenerationRequest.objects.filter(end_user=self.end_user))
        return None if asked is None else [*{*stored, *asked}]


@dataclass(frozen=True, slots=True)
class OnHold:
    """On legal hold, or not."""

    is_held: bool

    def filter(self) -> Q:
        held = is_held("asset__")
        return held if self.is_held else ~held

    def ids(self, span: Span) -> list[int] | None:
        return None


@dataclass(frozen=True, slots=True)
class Purged:
    """With stored files, or removed for good."""

    is_purged: bool

    def filter(self) -> Q:
        return _asset_exists(Q(purged_at__isnull=not self.is_purged))

    def ids(self, span: Span) -> list[int] | None:
        if not self.is_purged:
            return None
        return _fetch_few(Asset.objects.filter(purged_at__isnull=False))


@dataclass(frozen=True, slots=True)
class Decided:
    """A category named by a decision."""

    categories: Sequence[str]

    def filter(self) -> Q:
        rows = NamedCategory.objects.filter(
            category__in=self.categories, asset_id=OuterRef("asset_id")
        )
        return Q(Exists(rows))

    def ids(self, span: Span) -> list[int] | None:
        found = _fetch_few(NamedCategory.objects.filter(category__in=self.categories), "asset_id")
        return None if found is None else list(set(found))


@dataclass(frozen=True, slots=True)
class Arrived:
    """Arrival between two timestamps; the span of ids makes it fast."""

    since: datetime | None
    before: datetime | None

    def filter(self) -> Q:
        q = Q(created_at__gte=self.since) if self.since else Q()
        return q & Q(created_at__lt=self.before) if self.before else q

    def ids(self, span: Span) -> list[int] | None:
        return None


@dataclass(frozen=True, slots=True)
class ArrivedAt:
    """Arrival in an hour of the day, or on a day of the week from 0 (Monday), in UTC."""

    hour: int | None
    weekday: int | None

    def filter(self) -> Q:
        q = Q() if self.hour is None else Q(created_at__hour=self.hour)
        # ISO counts from 1.
        return q if self.weekday is None else q & Q(created_at__iso_week_day=self.weekday + 1)

    def ids(self, span: Span) -> list[int] | None:
        return None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Any of several readings of the query text."""

    readings: Sequence[Condition]

    def filter(self) -> Q:
        q = self.readings[0].filter()
        for reading in self.readings[1:]:
            q |= reading.filter()
        return q

    def ids(self, span: Span) -> list[int] | None:
        found: set[int] = set()
        for reading in self.readings:
            ids = reading.ids(span)
            if ids is None:
                return None
            found.update(ids)
        return list(found)


def _find_labels(categories: Collection[str]) -> QuerySet[Label]:
    """Return labels of these categories with any confidence above 0, or without one."""
    says = Q(confidence__isnull=True) | Q(confidence__gt=0)
    return Label.objects.filter(says, category__in=categories)


def _asset_exists(q: Q) -> Q:
    """Build an EXISTS condition, because the planner might start with a join."""
    return Q(Exists(Asset.objects.filter(q, pk=OuterRef("asset_id"))))


def _find_texts(terms: Sequence[Term]) -> QuerySet[AssetText]:
    rows = AssetText.objects.filter(pk=OuterRef("asset_id"))
    for term in terms:
        rows = rows.reading(term.needle)
    return rows


def id_list(ids: Collection[int]) -> RawSQL:
    """Return a list for ``__in`` as a single query parameter of any length."""
    if connection.vendor == "sqlite":
        return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(ids))])
    return RawSQL("SELECT unnest(%s::bigint[])", [list(ids)])


def _fetch_few(rows: QuerySet[Any], column: str = "pk") -> list[int] | None:
    """Return all values, or None if there are too many."""
    found = list(rows.order_by().values_list(column, flat=True)[: RARE + 1])
    return found if len(found) <= RARE else None


def _fetch_few_images(requests: QuerySet[GenerationRequest]) -> list[int] | None:
    """Return the images of these requests, or None if there are too many."""
    found = _fetch_few(requests)
    return _fetch_few(Asset.objects.filter(request__in=id_list(found))) if found else found


def _is_few(rows: QuerySet[Any]) -> bool:
    """Return whether there are few rows, counting only up to the limit.

    For indexes that count but do not contain the wanted column.
    """
    return rows.order_by().values("pk")[: RARE + 1].count() <= RARE

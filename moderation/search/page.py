"""From a form to a page of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from generation.models import Asset, GenerationRequest, Source, image_search
from moderation import taxonomy
from moderation.models import Decision, Review
from moderation.search import plan
from moderation.search.conditions import (
    AnyOf,
    Arrived,
    Columns,
    Condition,
    Decided,
    Model,
    Named,
    NotAmong,
    Requester,
    Seed,
    Span,
    Words,
)
from moderation.search.excerpts import TextSpan, excerpt, words_of
from moderation.search.forms import SearchForm
from moderation.search.query import SEED_MAX, Query, Term

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LENGTH = 60
# Images that look alike come on one page, the nearest first.
LOOK_ALIKES = 120
# Ids follow arrival, but two that arrive together may swap.
SLACK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the page shows of one image, worked out here: a template is slow at sixty times ten
    small things.
    """

    address: str
    preview: str
    thumbnail_url: str
    l1: str  # by which the viewer may prefer it covered
    short_id: str
    status: str
    status_name: str
    top_category: str
    arrived_at: datetime
    pieces: Sequence[TextSpan]
    distance: int | None = None  # bits of 256 between how the two look
    is_same: bool = False  # the very file that was searched for

    @property
    def iso(self) -> str:
        return self.arrived_at.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    results: Sequence[Result] = ()
    is_by_hash: bool = False  # in order of likeness, all on one page
    knows_looks: bool = False  # whether looks were compared, or bytes alone
    # The address from which the search goes on, if it does; and how far it got where the window
    # ended it.
    further: str = ""
    looked_at: int = 0
    looked_back_to: datetime | None = None


@dataclass(slots=True)
class Likeness:
    """What was found by hash: in order, with what is known of each."""

    same: set[int] = field(default_factory=set)
    distances: dict[int, int] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        return [
            *sorted(self.same, reverse=True),
            *(pk for pk in self.distances if pk not in self.same),
        ]


def search(form: SearchForm, *, user: User) -> Page:
    """The page that a valid form asks for."""
    given = form.cleaned_data
    sha256, pdq = given["like"]
    query: Query = given["q"]
    if query.digest:
        sha256, pdq = sha256 or query.digest, pdq or query.digest
    span = _span(form)
    conditions = list(_conditions(form, query))
    # To be found by its outcome would tell it to who is to judge an image again without knowing it.
    if (given["status"] or given["named"]) and (
        blind := list(Review.objects.blind_to(user).values_list("asset_id", flat=True))
    ):
        conditions.append(NotAmong(blind))
    if sha256:
        return _alike(
            sha256, pdq, conditions, span, user=user, wide=given["wide"], terms=query.wanted
        )
    found = plan.find(conditions, span=span, limit=LENGTH)
    results = _results(found.ids[:LENGTH], user, query.wanted)
    if found.ended_at is not None:
        return Page(
            results=results,
            further=form.address(before=found.ended_at),
            looked_at=plan.WINDOW,
            looked_back_to=found.looked_back_to,
        )
    return Page(
        results=results,
        further=form.address(before=found.ids[LENGTH - 1]) if len(found.ids) > LENGTH else "",
    )


def _conditions(form: SearchForm, query: Query) -> Iterator[Condition]:
    """Those first that are likelier to be rare."""
    given = form.cleaned_data
    if query.uuid:
        yield Named(_named_by(Q(uuid=query.uuid)))
    if query.terms:
        yield from _readings(query)
    if given["seed"] is not None:
        yield Seed(given["seed"])
    if given["named"]:
        yield Decided(
            [given["named"], *(child.slug for child in taxonomy.children(given["named"]))]
        )
    if any(given["requester"]):
        yield Requester(*given["requester"])
    if given["model"]:
        yield Model(given["model"])
    values = {name: given[name] for name in ("status", "source", "provider") if given[name]}
    if values or given["category"]:
        yield Columns(values, found=given["category"])
    if any(form.created):
        yield Arrived(*form.created)


def _readings(query: Query) -> Iterator[Condition]:
    """Words; or, for what may be a seed or the beginning of an id as well, any of these."""
    readings: list[Condition] = [Words(query.terms)]
    if query.number is not None:
        readings.append(Seed(query.number))
    if query.id_range:
        readings.append(Named(_named_by(Q(uuid__range=query.id_range))))
    yield readings[0] if len(readings) == 1 else AnyOf(readings)


def _named_by(q: Q) -> list[int]:
    """Assets that an id of theirs, of their review, their request or a decision about them
    names.
    """
    rows: list[QuerySet[Asset, int] | QuerySet[Review, int] | QuerySet[Decision, int]] = [
        Asset.objects.filter(q).values_list("pk", flat=True),
        Asset.objects.filter(request__in=GenerationRequest.objects.filter(q)).values_list(
            "pk", flat=True
        ),
        Review.objects.filter(q).values_list("asset_id", flat=True),
        Decision.objects.filter(q).values_list("review__asset_id", flat=True),
    ]
    return list(rows[0].union(*rows[1:])[: LENGTH * 2])


def _span(form: SearchForm) -> Span:
    """Between which ids to search. Days are turned into ids here, and held against each image's own
    time later.
    """
    start, end = form.created
    since, before = 0, form.cleaned_data["before"] or SEED_MAX
    if start:
        since = _first(Asset.objects.filter(created_at__gte=start - SLACK)) or SEED_MAX
    if end:
        before = min(before, _first(Asset.objects.filter(created_at__gte=end + SLACK)) or SEED_MAX)
    return Span(since, before)


def _first(rows: QuerySet[Asset]) -> int | None:
    return rows.order_by("created_at", "pk").values_list("pk", flat=True).first()


def _alike(
    sha256: str,
    pdq: str,
    conditions: Sequence[Condition],
    span: Span,
    *,
    user: User,
    wide: bool,
    terms: Sequence[Term],
) -> Page:
    """The same image first, then those that look like it, nearest first."""
    likeness = Likeness()
    likeness.same.update(_same(sha256))
    if pdq:
        within = image_search.WIDE if wide else image_search.NEAR
        likeness.distances.update(
            image_search.nearest(bytes.fromhex(pdq), within=within, limit=LOOK_ALIKES)
        )
    ids = plan.narrow([pk for pk in likeness.ids if pk in span], conditions, limit=LOOK_ALIKES)
    return Page(
        results=_results(ids, user, terms, likeness), is_by_hash=True, knows_looks=bool(pdq)
    )


def _same(sha256: str) -> list[int]:
    """Images whose rendition has this hash, or that were imported from a file that has it."""
    own, imported = (
        Asset.objects.filter(sha256=sha256),
        Asset.objects.filter(source_sha256=sha256, source=Source.UPLOAD),
    )
    rows = [rows.values_list("pk", flat=True) for rows in (own, imported)]
    return [pk for found in rows for pk in found.order_by("-pk")[:LOOK_ALIKES]]


def _results(
    ids: Sequence[int], user: User, terms: Sequence[Term], likeness: Likeness | None = None
) -> list[Result]:
    rows = (
        Review.objects.filter(asset_id__in=ids)
        .select_related("asset__request")
        .only(
            "uuid",
            "status",
            "risk",
            "top_category",
            "top_category_l1",
            "top_confidence",
            "created_at",
            "second_opinion",
            "decided_by",
            "claimed_by",
            "claimed_until",
            "asset__uuid",
            "asset__preview",
            "asset__metadata",
            "asset__original_name",
            "asset__request__prompt",
        )
    )
    found = {row.asset_id: row for row in rows}
    likeness = likeness or Likeness()
    reasons = _reasons(found.values())
    return [
        _result(found[pk], user, terms, likeness, reasons.get(found[pk].pk, ""))
        for pk in ids
        if pk in found
    ]


def _reasons(reviews: Iterable[Review]) -> dict[int, str]:
    """What the rejected ones were rejected for, which need not be what classifiers had found."""
    rejected = [review.pk for review in reviews if review.status == Review.Status.REJECTED]
    return {
        pk: decision.category_names
        for pk, decision in Decision.objects.last_standing(rejected).items()
    }


def _result(
    review: Review, user: User, terms: Sequence[Term], likeness: Likeness, reason: str
) -> Result:
    status, name = review.status, Review.Status(review.status).label
    if review.wants_opinion_of(user) and review.is_held_by(
        user
    ):  # who judges it again does not learn it here
        status, name, reason = Review.Status.PENDING, "Second opinion", ""
    return Result(
        address=review.get_absolute_url(),
        preview=review.asset.preview,
        thumbnail_url=review.asset.thumbnail_url,
        l1=review.top_category_l1,
        short_id=review.asset.short_id,
        status=status,
        status_name=str(name),
        top_category=reason or review.top_category_name,
        arrived_at=review.created_at,
        pieces=excerpt(words_of(review.asset), terms),
        distance=likeness.distances.get(review.asset_id),
        is_same=review.asset_id in likeness.same,
    )

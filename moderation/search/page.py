"""The page of search results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Q, QuerySet

from generation.core.urls import build_url
from generation.models import Asset, GenerationRequest, Source, image_search
from moderation import taxonomy
from moderation.models import Decision, Review
from moderation.search import by_risk, likeness, plan
from moderation.search.conditions import (
    AnyOf,
    Arrived,
    ArrivedAt,
    Columns,
    Condition,
    Decided,
    Delivered,
    EndUser,
    Lora,
    Model,
    Named,
    NotAmong,
    OnHold,
    Purged,
    Requester,
    Seed,
    Span,
    Words,
)
from moderation.search.excerpts import TextSpan, build_excerpt, source_text
from moderation.search.forms import HELD, REMOVED, RISK, SearchForm
from moderation.search.query import SEED_MAX, Query, Term
from moderation.services.exports.filters import BLURRED

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LENGTH = 60
# Maximum number of similar images, all on one page, nearest first.
LOOK_ALIKES = 120
# With filters: the number of most similar images that are filtered.
LIKENESS_FILTERED = 2000
# Tolerance for the order of ids: concurrent arrivals may swap.
SLACK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One image on the page, computed in Python: templates are slow for 600 small values."""

    address: str
    evidence_url: str  # of the dossier; "" during a second opinion
    preview: str
    thumbnail_url: str
    l1: str  # determines the cover
    short_id: str
    status: str
    status_name: str
    top_category: str
    # None for a decided image, which no queue contains, and for a category without a confidence.
    risk: int | None
    lacks_confidence: bool
    arrived_at: datetime
    pieces: Sequence[TextSpan]
    distance: int | None = None  # differing bits of 256
    similarity: int | None = None  # of the embeddings, in percent
    is_same: bool = False  # same file as the one searched for

    @property
    def iso(self) -> str:
        return self.arrived_at.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of results."""

    results: Sequence[Result] = ()
    is_by_hash: bool = False  # ordered by similarity, without further pages
    # Ordered by the similarity of embeddings, without further pages.
    is_by_likeness: bool = False
    looks: str = ""  # the words that the embeddings were compared with; "" for an image's
    is_filtered: bool = False  # only the most similar ones were filtered
    is_complete: bool = True  # False: not all embeddings were compared
    trouble: str = ""  # the reason why no embeddings were compared
    knows_looks: bool = False  # whether perceptual hashes were compared, not only SHA-256
    # Query string to continue the search, if there is more; and how far it got if the window ended.
    further: str = ""
    looked_at: int = 0
    looked_back_to: datetime | None = None
    is_by_risk: bool = False
    looked_down_to: int | None = None  # the same in the order of risk


@dataclass(slots=True)
class Likeness:
    """Assets found by hash or by embedding, in order, with their distances or similarities."""

    same: set[int] = field(default_factory=set)
    distances: dict[int, int] = field(default_factory=dict)
    similarities: dict[int, float] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        return [
            *sorted(self.same, reverse=True),
            *(pk for pk in self.distances if pk not in self.same),
        ]


def run_search(form: SearchForm, *, user: User) -> Page:
    """Execute a valid form and return its page."""
    given = form.cleaned_data
    sha256, pdq, like = given["like"]
    query: Query = given["q"]
    if query.digest:
        sha256, pdq = sha256 or query.digest, pdq or query.digest
    span = _compute_span(form)
    conditions = list(_iter_conditions(form, query))
    # A match by outcome would reveal it to a person who gives a second opinion.
    if (given["status"] or given["named"] or given["delivered"]) and (
        blind := _list_withheld(user)
    ):
        conditions.append(NotAmong(blind))
    if like:
        return _search_by_likeness(like, conditions, span, user=user, terms=query.wanted)
    if query.looks:
        return _search_by_looks(query.looks, conditions, span, user=user, terms=query.wanted)
    if sha256:
        return _search_by_hash(
            sha256, pdq, conditions, span, user=user, wide=given["wide"], terms=query.wanted
        )
    if given["order"] == RISK:
        return _search_by_risk(form, conditions, span, user=user, terms=query.wanted)
    found = plan.find_matches(conditions, span=span, limit=LENGTH)
    results = _build_results(found.ids[:LENGTH], user, query.wanted)
    if found.ended_at is not None:
        return Page(
            results=results,
            further=form.build_query(before=found.ended_at),
            looked_at=plan.WINDOW,
            looked_back_to=found.looked_back_to,
        )
    return Page(
        results=results,
        further=form.build_query(before=found.ids[LENGTH - 1]) if len(found.ids) > LENGTH else "",
    )


def _search_by_risk(
    form: SearchForm,
    conditions: Sequence[Condition],
    span: Span,
    *,
    user: User,
    terms: Sequence[Term],
) -> Page:
    """Find images that wait for a decision, in the order of the queue."""
    given = form.cleaned_data
    statuses = [Review.Status(given["status"])] if given["status"] else by_risk.STATUSES
    found = by_risk.find_matches(
        conditions, statuses=statuses, span=span, after=given["after"], limit=LENGTH
    )
    return Page(
        results=_build_results(found.ids, user, terms),
        is_by_risk=True,
        further=form.build_query(after="{}.{}".format(*found.further)) if found.further else "",
        looked_at=0 if found.ended_at_risk is None else plan.WINDOW,
        looked_down_to=found.ended_at_risk,
    )


def list_all(form: SearchForm, *, limit: int) -> list[int]:
    """Return the assets that match a valid form, however many pages they are: up to ``limit``.

    Raises ValueError for a search by likeness, which has no end.
    """
    given = form.cleaned_data
    query: Query = given["q"]
    if any(given["like"]) or query.looks or query.digest:
        raise ValueError("A search by a picture, a hash or looks has no definite end.")
    span = _compute_span(form)
    conditions = list(_iter_conditions(form, query))
    rows = Review.objects.filter(*(condition.filter() for condition in conditions))
    rows = rows.filter(asset_id__gte=span.since, asset_id__lt=span.before)
    rows = rows.order_by("asset_id")
    return list(rows.values_list("asset_id", flat=True)[:limit])


def _iter_conditions(form: SearchForm, query: Query) -> Iterator[Condition]:
    """Yield the conditions, the more selective ones first."""
    given = form.cleaned_data
    if query.uuid:
        yield Named(_find_by_id(Q(uuid=query.uuid)))
    if query.terms:
        yield from _iter_readings(query)
    yield from _iter_request_conditions(given)
    if given["named"]:
        yield Decided(
            [given["named"], *(child.slug for child in taxonomy.list_children(given["named"]))]
        )
    if given["delivered"]:
        yield Delivered(is_blurred=given["delivered"] == BLURRED)
    values = {name: given[name] for name in ("status", "source", "provider") if given[name]}
    if values or given["category"]:
        yield Columns(values, found=given["category"])
    if any(form.created):
        yield Arrived(*form.created)
    yield from _iter_times(given)


def _iter_request_conditions(given: Mapping[str, Any]) -> Iterator[Condition]:
    if given["seed"] is not None:
        yield Seed(given["seed"])
    if any(given["requester"]):
        yield Requester(*given["requester"])
    if given["end_user"]:
        yield EndUser(given["end_user"])
    if given["kept"]:
        yield OnHold(True) if given["kept"] == HELD else Purged(given["kept"] == REMOVED)
    if given["model"]:
        yield Model(given["model"])
    if given["lora"]:
        yield Lora(given["lora"])


def _iter_times(given: Mapping[str, Any]) -> Iterator[Condition]:
    hour, weekday = given["hour"], given["weekday"]
    if hour or weekday:
        yield ArrivedAt(int(hour) if hour else None, int(weekday) if weekday else None)


def _iter_readings(query: Query) -> Iterator[Condition]:
    """Yield a condition on words, or on any reading if the text may also be a seed or an id."""
    readings: list[Condition] = [Words(query.terms)]
    if query.number is not None:
        readings.append(Seed(query.number))
    if query.id_range:
        readings.append(Named(_find_by_id(Q(uuid__range=query.id_range))))
    yield readings[0] if len(readings) == 1 else AnyOf(readings)


def _find_by_id(q: Q) -> list[int]:
    """Return assets whose own id matches, or that of their review, request or a decision."""
    rows: list[QuerySet[Asset, int] | QuerySet[Review, int] | QuerySet[Decision, int]] = [
        Asset.objects.filter(q).values_list("pk", flat=True),
        Asset.objects.filter(request__in=GenerationRequest.objects.filter(q)).values_list(
            "pk", flat=True
        ),
        Review.objects.filter(q).values_list("asset_id", flat=True),
        Decision.objects.filter(q).values_list("review__asset_id", flat=True),
    ]
    return list(rows[0].union(*rows[1:])[: LENGTH * 2])


def _compute_span(form: SearchForm) -> Span:
    """Return the range of ids to search.

    Days are converted to ids here, and compared with each image's timestamp later.
    """
    start, end = form.created
    since, before = 0, form.cleaned_data["before"] or SEED_MAX
    if start:
        since = _first_pk(Asset.objects.filter(created_at__gte=start - SLACK)) or SEED_MAX
    if end:
        before = min(
            before, _first_pk(Asset.objects.filter(created_at__gte=end + SLACK)) or SEED_MAX
        )
    return Span(since, before)


def _first_pk(rows: QuerySet[Asset]) -> int | None:
    return rows.order_by("created_at", "pk").values_list("pk", flat=True).first()


def _search_by_hash(
    sha256: str,
    pdq: str,
    conditions: Sequence[Condition],
    span: Span,
    *,
    user: User,
    wide: bool,
    terms: Sequence[Term],
) -> Page:
    """Find the same image, then similar ones, nearest first."""
    found = Likeness()
    found.same.update(_find_same(sha256))
    if pdq:
        within = image_search.WIDE if wide else image_search.NEAR
        found.distances.update(
            image_search.find_nearest(bytes.fromhex(pdq), within=within, limit=LOOK_ALIKES)
        )
    ids = plan.filter_ids([pk for pk in found.ids if pk in span], conditions, limit=LOOK_ALIKES)
    return Page(
        results=_build_results(ids, user, terms, found), is_by_hash=True, knows_looks=bool(pdq)
    )


def _list_withheld(user: User) -> list[int]:
    """Return the assets that the user holds for a second opinion or as golden images."""
    held = [Review.objects.blind_to(user), Review.objects.golden_to(user)]
    return [pk for rows in held for pk in rows.values_list("asset_id", flat=True)]


def _search_by_likeness(
    like: UUID,
    conditions: Sequence[Condition],
    span: Span,
    *,
    user: User,
    terms: Sequence[Term],
) -> Page:
    """Find the images whose embeddings are the most similar to that of an image."""
    review = Review.objects.filter(asset__uuid=like).select_related("asset").first()
    if review is None:
        return Page(is_by_likeness=True, trouble="There is no image with this id.")
    # The outcomes of similar images would suggest the first decision.
    if review.wants_opinion_of(user) and review.is_held_by(user):
        trouble = "Give your second opinion first. Then you can see similar images."
        return Page(is_by_likeness=True, trouble=trouble)
    try:
        alike = likeness.find_alike(
            review.asset,
            since=span.since,
            before=span.before,
            limit=LIKENESS_FILTERED if conditions else LOOK_ALIKES,
        )
    except likeness.NotEmbeddedError as error:
        return Page(is_by_likeness=True, trouble=str(error))
    ids = plan.filter_ids(list(alike.similarities), conditions, limit=LOOK_ALIKES)
    found = Likeness(similarities=alike.similarities)
    return Page(
        results=_build_results(ids, user, terms, found),
        is_by_likeness=True,
        is_filtered=bool(conditions),
        is_complete=alike.is_complete,
    )


def _search_by_looks(
    looks: str,
    conditions: Sequence[Condition],
    span: Span,
    *,
    user: User,
    terms: Sequence[Term],
) -> Page:
    """Find the images whose embeddings are the nearest to words.

    The cosine of an image and a text is no percentage that people can compare, so it is not shown.
    """
    try:
        alike = likeness.find_by_words(
            looks,
            since=span.since,
            before=span.before,
            limit=LIKENESS_FILTERED if conditions else LOOK_ALIKES,
        )
    except likeness.NotEmbeddedError as error:
        return Page(is_by_likeness=True, looks=looks, trouble=str(error))
    ids = plan.filter_ids(list(alike.similarities), conditions, limit=LOOK_ALIKES)
    return Page(
        results=_build_results(ids, user, terms),
        is_by_likeness=True,
        looks=looks,
        is_filtered=bool(conditions),
        is_complete=alike.is_complete,
    )


def _find_same(sha256: str) -> list[int]:
    """Return assets whose rendition or imported file has this hash."""
    own, imported = (
        Asset.objects.filter(sha256=sha256),
        Asset.objects.filter(source_sha256=sha256, source=Source.UPLOAD),
    )
    rows = [rows.values_list("pk", flat=True) for rows in (own, imported)]
    return [pk for found in rows for pk in found.order_by("-pk")[:LOOK_ALIKES]]


def _build_results(
    ids: Sequence[int], user: User, terms: Sequence[Term], matched: Likeness | None = None
) -> list[Result]:
    rows = (
        Review.objects.filter(asset_id__in=ids)
        .select_related("asset__request")
        .only(
            "uuid",
            "status",
            "is_blurred",
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
    matched = matched or Likeness()
    reasons = _load_reasons(found.values())
    return [
        _build_result(found[pk], user, terms, matched, reasons.get(found[pk].pk, ""))
        for pk in ids
        if pk in found
    ]


def _load_reasons(reviews: Iterable[Review]) -> dict[int, str]:
    """Return the decided categories of rejected reviews, which may differ from the found ones."""
    rejected = [review.pk for review in reviews if review.status == Review.Status.REJECTED]
    return {
        pk: decision.category_names
        for pk, decision in Decision.objects.map_last_effective(rejected).items()
    }


def _build_result(
    review: Review, user: User, terms: Sequence[Term], matched: Likeness, reason: str
) -> Result:
    status, name = review.status, review.status_name
    # No outcome is shown during a second opinion.
    is_blind = review.wants_opinion_of(user) and review.is_held_by(user)
    if is_blind:
        status, name, reason = Review.Status.PENDING, "Second opinion", ""
    elif review.is_golden_to(user):
        review.appear_waiting()
        status, name = review.status, review.status_name
    similarity = matched.similarities.get(review.asset_id)
    waits = status in (Review.Status.PENDING, Review.Status.ESCALATED)
    # Beside a category, a number would be taken for a confidence.
    lacks_confidence = bool(waits and review.top_category and review.top_confidence is None)
    return Result(
        address=review.get_absolute_url(),
        evidence_url="" if is_blind else build_url("moderation:asset-detail", review.asset.uuid),
        preview=review.asset.preview,
        thumbnail_url=review.asset.thumbnail_url,
        l1=review.top_category_l1,
        short_id=review.asset.short_id,
        status=status,
        status_name=name,
        top_category=reason or review.top_category_name,
        risk=review.risk if waits and not lacks_confidence else None,
        lacks_confidence=lacks_confidence,
        arrived_at=review.created_at,
        pieces=build_excerpt(source_text(review.asset), terms),
        distance=matched.distances.get(review.asset_id),
        similarity=None if similarity is None else round(100 * similarity),
        is_same=review.asset_id in matched.same,
    )

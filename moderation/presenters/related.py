"""Related material that helps to judge an image: siblings, similar images, prompt words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import F, QuerySet, Subquery

from generation.core.db.functions import split_words
from generation.core.db.prepared.query import PreparedQuery
from generation.models import Asset, image_search
from moderation.matches import Match
from moderation.models import Decision, Review, WordStats, WordStatsProgress
from moderation.models.decisions import keep_effective
from moderation.models.exposure import SEVERE
from moderation.models.word_stats import extract_words, locate_words
from moderation.presenters.labels import Source
from moderation.presenters.visibility import HIDDEN, ShownStatus, get_shown_status

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SIMILAR = 6
ALIKE_MAX = 60  # newest members of a near-duplicate group that are compared
# A word is marked if it occurs in this many rejected images and is rejected this much more often
# than the average.
REJECTED_MIN = 3
LIFT_MIN = 1.5
# Stop words: too frequent to tell anything.
COMMON = extract_words(
    "and the with for from into onto over under that this its his her their our your are was were"
    " not but has have very more most all any out off near behind between while through about like"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Generation parameters reported by an external source: untrusted text."""

    prompt: str
    negative_prompt: str
    model: str
    seed: str
    sampling: str
    project: str
    made_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmstripItem:
    """An image of the filmstrip."""

    review: Review
    preview: str
    shown: ShownStatus
    number: int
    is_current: bool
    hotkey: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """A near duplicate with its status."""

    review: Review
    shown: ShownStatus
    distance: int  # differing bits of 256; 0: same hash


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownImage:
    """A match, and the known image with its present status."""

    match: Match
    review: Review | None  # None: an entry of a list
    shown: ShownStatus | None

    @property
    def is_hidden(self) -> bool:
        """Return whether the viewer must not learn the outcome now."""
        return self.shown is HIDDEN

    @property
    def is_pictured(self) -> bool:
        """Return whether the image may be shown beside another one. Severe images never are."""
        if self.review is None:
            return False
        groups = {slug.partition(".")[0] for slug in self.match.categories}
        return SEVERE.isdisjoint({self.review.top_category_l1, *groups})


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two differing verdicts on one image, the second one given without seeing the first."""

    first: Decision
    second: Decision
    is_party: bool  # the viewer gave one of them


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpan:
    """A part of a prompt; with a reason, a word that other rejected prompts share."""

    text: str
    reason: str = ""


def find_disagreement(decisions: Iterable[Decision], user: User) -> Disagreement | None:
    """Return the disagreement of which both decisions are in effect, or None.

    ``decisions``: all decisions of one review, in any order.
    """
    in_order = sorted(decisions, key=lambda row: row.sequence)
    differing = [row for row in keep_effective(in_order) if row.disagrees]
    if not differing:
        return None
    second = differing[-1]
    assert second.second_of is not None
    is_party = user.pk in (second.reviewer_id, second.second_of.reviewer_id)
    return Disagreement(first=second.second_of, second=second, is_party=is_party)


def filmstrip(review: Review, user: User, *, is_blind: bool = False) -> list[FilmstripItem]:
    """Return the images of the same request; [] without siblings."""
    if (
        review.asset.request_id is None
        or review.asset.request is None
        or review.asset.request.image_num == 1
    ):
        return []
    frames = _SIBLINGS.rows(request=review.asset.request_id)
    at = next((index for index, row in enumerate(frames) if row.pk == review.pk), 0)
    keys = {at + 1: "j", at - 1: "k"}
    return [
        FilmstripItem(
            review=row,
            preview=row.preview,
            shown=get_shown_status(row, user, is_blind=is_blind),
            number=index + 1,
            is_current=index == at,
            hotkey=keys.get(index, ""),
        )
        for index, row in enumerate(frames)
    ]


_SIBLINGS: PreparedQuery[Any] = PreparedQuery(
    lambda request: (
        Review.objects.filter(asset__request=request)
        .only(
            *("uuid", "status", "is_blurred", "second_opinion", "decided_by"),
            *("claimed_by", "claimed_until", "top_category_l1"),
        )
        .annotate(preview=F("asset__preview"), asset_uuid=F("asset__uuid"))
        .order_by("asset__position")
    ),
    request=int,
)


def find_similar(review: Review, user: User, *, is_blind: bool = False) -> list[Similar]:
    """Return near duplicates, nearest first, with their statuses.

    The group is computed when the image arrives (``Review.near_duplicate_group``), so that no
    decision has to search.
    """
    if review.near_duplicate_group is None or review.asset.pdq is None:
        return []
    pdq = bytes(review.asset.pdq)
    found = [
        Similar(
            review=row,
            shown=get_shown_status(row, user, is_blind=is_blind),
            distance=image_search.count_different_bits(pdq, bytes(row.asset.pdq or pdq)),
        )
        for row in _ALIKE.rows(near_duplicate_group=review.near_duplicate_group, review=review.pk)
    ]
    return sorted(found, key=lambda one: (one.distance, -one.review.pk))[:SIMILAR]


_ALIKE = PreparedQuery(
    lambda near_duplicate_group, review: (
        Review.objects.filter(near_duplicate_group=near_duplicate_group)
        .exclude(pk=review)
        .select_related("asset")
        .only(
            "uuid",
            "status",
            "is_blurred",
            "second_opinion",
            "decided_by",
            "claimed_by",
            "claimed_until",
            "top_category_l1",
            "asset__preview",
            "asset__uuid",
            "asset__pdq",
        )
        .order_by("-pk")[:ALIKE_MAX]
    ),
    near_duplicate_group=int,
    review=int,
)


def find_known(
    sources: Iterable[Source], user: User, *, is_blind: bool = False
) -> list[KnownImage]:
    """Return the matches of a review; most reviews have none and cost no query."""
    matches = [match for source in sources for match in source.run.matches]
    named = [match.review for match in matches if match.review]
    rows = (
        Review.objects.filter(uuid__in=named)
        .select_related("asset")
        .only(
            *("uuid", "status", "is_blurred", "second_opinion", "decided_by"),
            *("claimed_by", "claimed_until", "top_category_l1", "asset__uuid", "asset__preview"),
        )
        if named
        else ()
    )
    reviews = {str(row.uuid): row for row in rows}
    return [
        KnownImage(
            match=match,
            review=review,
            shown=get_shown_status(review, user, is_blind=is_blind) if review else None,
        )
        for match in matches
        for review in [reviews.get(match.review)]
    ]


def mark_words(prompt: str) -> list[TextSpan]:
    """Split a prompt into spans, marking words that are often rejected."""
    words = extract_words(prompt) - COMMON
    reasons = {
        word: f"{rejected} of {decided} decided images with this word were rejected"
        for word, decided, rejected, all_decided, all_rejected in _TALLIES.rows(
            words=" ".join(words)
        )
        if rejected / decided
        >= min(1.0, LIFT_MIN * (all_rejected / all_decided if all_decided else 1.0))
    }
    return list(_split_prompt(prompt, reasons)) if reasons else [TextSpan(text=prompt)]


def _find_word_stats(words: str) -> QuerySet[WordStats, Any]:
    """Return stats of those words that were rejected often, each with the totals."""
    whole = WordStatsProgress.objects.filter(pk=1)
    telling = WordStats.objects.filter(word__in=split_words(words), rejected__gte=REJECTED_MIN)
    numbers = (Subquery(whole.values("decided")), Subquery(whole.values("rejected")))
    return telling.values_list("word", "decided", "rejected", *numbers)


_TALLIES: PreparedQuery[Any] = PreparedQuery(_find_word_stats, words=str)


def _split_prompt(prompt: str, reasons: Mapping[str, str]) -> Iterator[TextSpan]:
    done = 0
    for word, place in locate_words(prompt):
        if word in reasons:
            if done < place.start:
                yield TextSpan(text=prompt[done : place.start])
            yield TextSpan(text=prompt[place.start : place.stop], reason=reasons[word])
            done = place.stop
    if done < len(prompt):
        yield TextSpan(text=prompt[done:])


def read_notes(asset: Asset) -> Notes | None:
    """Return an asset's generation parameters as its source reports them; None if unknown."""
    fields = asset.metadata.get("scenario")
    if not isinstance(fields, dict):
        return None

    def text(name: str) -> str:
        return str(fields.get(name, ""))

    models = dict.fromkeys(text(name) for name in ("modelId", "baseModelId"))
    steps, guidance = (
        text("numInferenceSteps").removesuffix(".0"),
        text("guidance").removesuffix(".0"),
    )
    sampling = [
        f"{steps} steps" if steps else "",
        f"guidance {guidance}" if guidance else "",
        text("scheduler"),
    ]
    return Notes(
        prompt=text("prompt"),
        negative_prompt=text("negativePrompt"),
        model=" on ".join(model for model in models if model),
        seed=text("seed"),
        sampling=", ".join(part for part in sampling if part),
        project=text("ownerId"),
        made_at=text("createdAt")[:19].replace("T", " "),
    )

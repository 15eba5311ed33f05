"""What the review screen shows, gathered before the template runs: no query and no rule is left to the template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Count, F, Subquery
from django.utils import timezone

from generation.models import Asset
from moderation import classifiers, queues, taxonomy
from moderation.classifiers.base import Coverage
from moderation.models import Classification, Decision, Preferences, Review, Verdict
from moderation.queues import Queue
from moderation.services import desk
from moderation.taxonomy import Category

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAST = {Verdict.APPROVE: "Approved", Verdict.REJECT: "Rejected", Verdict.ESCALATE: "Escalated"}
SHORT = {
    Review.Status.CLASSIFYING: "Wait",
    Review.Status.PENDING: "Due",
    Review.Status.ESCALATED: "Esc",
    Review.Status.APPROVED: "OK",
    Review.Status.REJECTED: "No",
}
STRIP_LENGTH = 10
SUGGESTIONS = 9
# An exclusive list of what it sees reads better than a long list of what it does not.
FEW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    category: Category
    confidence: Decimal
    parts: int  # how many places in the image it was found in; 0 when the classifier names none
    scored: bool = True  # False: no confidence was given, and the number means nothing
    details: str = ""  # what the classifier's own words say beyond the category

    @property
    def l1(self) -> Category:
        return taxonomy.get(self.category.l1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One classification in words."""

    run: Classification
    label: str
    found: Sequence[Found]
    limits: str

    @property
    def verdict(self) -> str:
        """What there is to say where it names neither a category nor a number."""
        if self.run.flagged:
            return "flagged, no category"
        return "not flagged" if classifiers.is_binary(self.run.classifier) else "nothing found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    category: Category
    confidence: Decimal | None  # None: none was given
    digit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What a source outside says about how its image was made. All text, and none of it ours."""

    prompt: str
    negative_prompt: str
    model: str
    seed: str
    sampling: str
    project: str
    made_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A picture of the strip."""

    review: Review
    number: int
    is_current: bool
    hotkey: str = ""

    @property
    def word(self) -> str:
        """The status in as few letters as fit under a small picture."""
        return SHORT[Review.Status(self.review.status)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    decision: Decision
    may_reverse: bool


def review_screen(*, user: User, review: Review, queue: Queue | None) -> dict[str, Any]:
    """The context of the review page and of its panel."""
    sources = sources_of(review.asset)
    decisions = review.decisions.newest_first().select_related("reviewer", "policy", "reversed_by", "review")
    history = entries(decisions, user)
    return {
        "review": review,
        "asset": review.asset,
        "generation": review.asset.request,
        "notes": notes_of(review.asset),
        "queue": queue,
        "sources": sources,
        "suggestions": suggestions(sources),
        "tree": list(taxonomy.tree()),
        "headline": taxonomy.CATEGORIES.get(review.headline),
        "history": history,
        "last": history[0] if history else None,
        "strip": strip(user=user, review=review, queue=queue),
        "foot": foot(user, review),
        "claim_seconds": claim_seconds(review),
        "undo": desk.last_reversible(user=user),
        **rail(user),
    }


def rail(user: User) -> dict[str, Any]:
    """Queues with bounded counts, and what this person alone has done today."""
    counts = _verdicts_today(user)
    return {
        "rail": [(queue, queues.bounded_count(queue.reviews(user))) for queue in queues.for_user(user)],
        "today": [(verdict, PAST[verdict], counts.get(verdict, 0)) for verdict in PAST],
    }


def _verdicts_today(user: User) -> dict[str, int]:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    # Today's first sequence by one index, then mine since it by another: neither walks through the past.
    since = Decision.objects.filter(created_at__gte=midnight).order_by("created_at", "sequence").values("sequence")[:1]
    mine = Decision.objects.filter(reviewer=user, sequence__gte=Subquery(since))
    return dict(mine.values_list("verdict").annotate(Count("pk")))


def entries(decisions: Iterable[Decision], user: User) -> list[Entry]:
    return [Entry(decision=row, may_reverse=row.may_be_reversed_by(user)) for row in decisions]


def claim_seconds(review: Review) -> int:
    """How long the claim still holds, by the server's clock; the browser only counts down from here."""
    if review.claimed_until is None:
        return 0
    return max(0, int((review.claimed_until - timezone.now()).total_seconds()))


def foot(user: User, review: Review) -> str:
    """Which of the designed feet the inspector gets."""
    if not user.has_perm("moderation.decide_review"):
        return "looking"
    if review.status == Review.Status.CLASSIFYING:
        return "classifying"
    if review.is_decided:
        return "decided"
    if review.status == Review.Status.ESCALATED and not user.has_perm("moderation.decide_escalated_review"):
        return "senior"
    if review.is_held_by(user):
        return "deciding"
    return "taken" if review.is_claimed else "free"


def strip(*, user: User, review: Review, queue: Queue | None) -> list[Frame]:
    """The images of the same request; for an image without one, what comes next in the queue."""
    rows = Review.objects.select_related("asset").defer("asset__metadata", "asset__detection")
    if review.asset.request_id is not None:
        shown = list(rows.filter(asset__request=review.asset.request_id).order_by("asset__position"))
    elif queue is not None:
        following = queue.reviews(user).unclaimed_for(user).exclude(pk=review.pk).in_order()
        shown = [review, *following.select_related("asset")[: STRIP_LENGTH - 1]]
    else:
        shown = [review]
    at = next((index for index, row in enumerate(shown) if row.pk == review.pk), 0)
    keys = {at + 1: "j", at - 1: "k"}
    return [
        Frame(review=row, number=index + 1, is_current=index == at, hotkey=keys.get(index, ""))
        for index, row in enumerate(shown)
    ]


def notes_of(asset: Asset) -> Notes | None:
    """How an asset was made elsewhere, as its source says; None when that is not known."""
    said = asset.metadata.get("scenario")
    if not isinstance(said, dict):
        return None

    def text(name: str) -> str:
        return str(said.get(name, ""))

    models = dict.fromkeys(text(name) for name in ("modelId", "baseModelId"))
    steps, guidance = text("numInferenceSteps").removesuffix(".0"), text("guidance").removesuffix(".0")
    sampling = [f"{steps} steps" if steps else "", f"guidance {guidance}" if guidance else "", text("scheduler")]
    return Notes(
        prompt=text("prompt"),
        negative_prompt=text("negativePrompt"),
        model=" on ".join(model for model in models if model),
        seed=text("seed"),
        sampling=", ".join(part for part in sampling if part),
        project=text("ownerId"),
        made_at=text("createdAt")[:19].replace("T", " "),
    )


def sources_of(asset: Asset) -> list[Source]:
    rows = asset.classifications.defer("raw").annotate(details=F("raw__details"))
    runs = rows.prefetch_related("labels").order_by("pk")
    return [
        Source(run=run, label=classifiers.label(run.classifier), found=_found(run), limits=_limits(run)) for run in runs
    ]


def suggestions(sources: Iterable[Source]) -> list[Suggestion]:
    """What the classifiers found, as far as a rejection can name it, surest first."""
    allowed = set(taxonomy.reject_reasons())
    best: dict[Category, Found] = {}
    for found in (found for source in sources for found in source.found if found.category in allowed):
        if found.category not in best or _rank(found) > _rank(best[found.category]):
            best[found.category] = found
    ranked = sorted(best.values(), key=_rank, reverse=True)[:SUGGESTIONS]
    return [
        Suggestion(category=found.category, confidence=found.confidence if found.scored else None, digit=digit)
        for digit, found in enumerate(ranked, 1)
    ]


def _rank(found: Found) -> tuple[bool, Decimal]:
    return found.scored, found.confidence


def _found(run: Classification) -> list[Found]:
    """One line per category: its highest confidence, and in how many places."""
    grouped: dict[str, list[Any]] = {}
    for label in run.labels.all():
        grouped.setdefault(label.category, []).append(label)
    said = getattr(run, "details", None)
    details = said if isinstance(said, dict) else {}
    lines = [
        Found(
            category=taxonomy.CATEGORIES.get(slug) or Category(slug, slug, ""),
            confidence=max(label.confidence for label in labels),
            parts=sum(label.box is not None for label in labels),
            scored=classifiers.gives_confidence(run.classifier),
            details=", ".join(details.get(slug, ())),
        )
        for slug, labels in grouped.items()
    ]
    return sorted(lines, key=lambda line: line.confidence, reverse=True)


def _limits(run: Classification) -> str:
    """What it cannot see, in words: silence about these means nothing."""
    if run.status != Classification.Status.DONE:
        return ""
    if not run.covers:
        return "Names no category, so its silence is about none in particular."
    seen = [category for category in taxonomy.L1 if category.slug in run.covers]
    unseen = [category for category in taxonomy.L1 if category.slug not in run.covers]
    partly = [category for category in seen if run.covers[category.slug] != Coverage.FULL]
    sentences = []
    if unseen:
        only = len(seen) <= FEW
        sentences.append(f"Sees only: {_list(seen)}." if only else f"Cannot see: {_list(unseen)}.")
    if partly and len(partly) == len(seen):
        sentences.append("None of them in every form.")
    elif partly:
        sentences.append(f"Sees in part: {_list(partly)}.")
    return " ".join(sentences)


def _list(categories: Sequence[Category]) -> str:
    # Semicolons, because several names hold "and" or "or" themselves.
    return "; ".join(category.name for category in categories)


def surround_after(preferences: Preferences) -> str:
    """Where the surround key goes next."""
    values = [str(value) for value in Preferences.Surround.values]
    return values[(values.index(preferences.surround) + 1) % len(values)]

"""Golden images: marked by seniors, given unseen to moderators, answered without a decision.

A person gets a golden image between the images of the whole queue. They hold a claim on its review,
which stays decided; for them it looks like a waiting one (``Review.appear_waiting``). The answer is
stored as a ``GoldenAnswer``. Nothing here returns the answers of one person to another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.crypto import salted_hmac

from moderation import taxonomy
from moderation.judgement.estimates import Figure, estimate_wilson
from moderation.models import Decision, GoldenAnswer, GoldenImage, Review, Verdict
from moderation.models.reviews import UNDO_WINDOW

if TYPE_CHECKING:
    from django.contrib.auth.models import User

VIEW: Final = "moderation.view_goldenimage"
MARK: Final = "moderation.add_goldenimage"
RETIRE: Final = "moderation.change_goldenimage"
# Fewer people would let one of them, or a reader who knows them, work out the answers of another.
PEOPLE_MIN: Final = 3
CANDIDATES_MAX: Final = 500
COUNTED_MAX: Final = 20_000  # newest answers
# An answer that a browser kept while it was offline may come later than the claim lasts.
ANSWERED_WITHIN: Final = timedelta(hours=12)
APPROVED_GROUP: Final = ""
REMOVED: Final = "The files of this image were removed, so nobody can judge it any more."
_PARTS: Final = 10_000


class GoldenImageError(Exception):
    """A refused change. ``str(error)`` is a message for the user."""


# --- Marking ---


def explain_refusal(review: Review, user: User) -> str:
    """Return why this review cannot become a golden image; "" if it can."""
    if not review.is_decided or review.second_opinion == Review.SecondOpinion.WANTED:
        return "Only a settled image can be golden. This one is still open."
    if review.decided_by_id is None:
        return (
            "The policy decided this image, so it does not look like one that waits for a person."
            " Only images that a person decided can be golden."
        )
    if review.asset.is_purged:
        return REMOVED
    if review.is_own_request_of(user):
        return "You requested this image, so somebody else marks it."
    return ""


def may_mark(review: Review, user: User) -> bool:
    """Return whether this person can make this review a golden image."""
    return not explain_refusal(review, user) and user.has_perm(MARK)


@transaction.atomic
def mark(*, review: Review, user: User, explanation: str = "") -> GoldenImage:
    """Make a settled image golden: its decision in effect is the known answer.

    Raises GoldenImageError.
    """
    locked = Review.objects.select_for_update().get(pk=review.pk)
    if refusal := explain_refusal(locked, user):
        raise GoldenImageError(refusal)
    if GoldenImage.objects.in_use().filter(review=locked).exists():
        raise GoldenImageError("This image is golden already.")
    known = find_known_decision(locked)
    return GoldenImage.objects.create(
        review=locked,
        verdict=known.verdict,
        is_blurred=known.is_blurred,
        categories=known.categories,
        explanation=explanation.strip(),
        marked_by=user,
    )


def find_known_decision(review: Review) -> Decision:
    """Return the decision in effect on a settled review."""
    return [row for row in Decision.objects.list_effective(review) if row.second_of_id is None][-1]


def retire(*, golden_image: GoldenImage, user: User) -> None:
    """Stop giving a golden image to people. Answers are kept."""
    rows = GoldenImage.objects.in_use().filter(pk=golden_image.pk)
    rows.update(retired_at=timezone.now(), retired_by=user)


# --- The draw ---


def is_drawn(user: User, decided: UUID) -> bool:
    """Return whether a golden image follows after this person's decision on this image.

    The key makes the draw unpredictable for people who know this code.
    """
    return _draw(user, decided) % _PARTS < settings.GOLDEN_PERCENT * 100


def _draw(user: User, decided: UUID) -> int:
    digest = salted_hmac("moderation.golden_images", f"{user.pk}:{decided}", algorithm="sha256")
    return int.from_bytes(digest.digest()[:8])


def find_next(
    user: User, decided: UUID, *, skipped: Collection[int], avoided: Collection[str]
) -> int | None:
    """Return the review of a golden image for this person, or None.

    Each is answered at most once a person, and never by one who has decided it or may read the
    list of golden images.
    """
    if user.has_perm(VIEW):
        return None
    by_them = Decision.objects.filter(review=OuterRef("review"), reviewer=user)
    answered = GoldenAnswer.objects.answered().filter(golden_image=OuterRef("pk"), person=user)
    rows = GoldenImage.objects.in_use().with_known_answer()
    rows = rows.exclude(Exists(by_them)).exclude(Exists(answered)).exclude(review__in=skipped)
    if not settings.DECIDE_OWN_REQUESTS:
        rows = rows.exclude(review__requested_by=user)
    if avoided:
        rows = rows.exclude(review__top_category_l1__in=avoided)
    found = list(rows.order_by("pk").values_list("review", flat=True)[:CANDIDATES_MAX])
    return found[_draw(user, decided) // _PARTS % len(found)] if found else None


def note_asked(user: User, review: Review) -> None:
    """Store that a golden image was given to this person."""
    golden_image = GoldenImage.objects.in_use().get(review=review.pk)
    GoldenAnswer.objects.update_or_create(
        golden_image=golden_image, person=user, defaults={"asked_at": timezone.now()}
    )


# --- Answers ---


def find_asked(review: Review, user: User) -> GoldenAnswer | None:
    """Return the open question to this person about this image, or None."""
    return (
        GoldenAnswer.objects.filter(
            golden_image__review=review.pk,
            person=user,
            answered_at__isnull=True,
            asked_at__gte=timezone.now() - ANSWERED_WITHIN,
        )
        .select_related("golden_image", "person")
        .order_by("-pk")
        .first()
    )


def store_answer(
    asked: GoldenAnswer,
    *,
    verdict: Verdict,
    is_blurred: bool,
    categories: Sequence[str],
    note: str,
    seconds: Decimal | None,
    uuid: UUID | None,
) -> GoldenAnswer:
    """Store the answer to an open question."""
    asked.uuid = uuid or uuid4()
    asked.answered_at = timezone.now()
    asked.verdict, asked.is_blurred = verdict, is_blurred
    asked.categories, asked.note, asked.seconds = list(categories), note, seconds
    asked.save()
    return asked


def find_repeated(uuid: UUID, review_uuid: UUID, user: User) -> GoldenAnswer | None:
    """Return this person's stored answer of this name, if a browser sends it again."""
    rows = GoldenAnswer.objects.answered().filter(
        uuid=uuid, person=user, golden_image__review__uuid=review_uuid
    )
    return rows.select_related("golden_image__review__asset", "person").first()


def find_undoable(user: User, uuid: UUID | None = None) -> GoldenAnswer | None:
    """Return the person's newest answer that they may take back; ``uuid``: only this one."""
    rows = GoldenAnswer.objects.undoable_by(user)
    return (rows.filter(uuid=uuid) if uuid else rows).first()


def take_back(answer: GoldenAnswer) -> None:
    """Open the question again. The caller claims the review for the person."""
    GoldenAnswer.objects.filter(pk=answer.pk).update(
        answered_at=None,
        verdict="",
        is_blurred=False,
        categories=[],
        note="",
        seconds=None,
        asked_at=timezone.now(),
    )


# --- Results ---


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnResults:
    """A person's own answers, newest first, and how many agree with the known answer."""

    answers: list[GoldenAnswer]
    agreed: int
    unsure: int
    share: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """The agreement of the whole team on one group of golden images, without names.

    ``share`` is None if too few people answered.
    """

    name: str
    answers: int
    share: Figure | None


def load_own_results(user: User, *, limit: int = 50) -> OwnResults:
    """Return the results of this person, for this person only.

    An answer that can still be taken back is left out: its known answer would tell what to answer.
    """
    rows = GoldenAnswer.objects.filter(person=user).answered_before(timezone.now() - UNDO_WINDOW)
    counted = list(rows.order_by("-answered_at")[:COUNTED_MAX])
    clear = [row for row in counted if not row.is_unsure]
    agreed = sum(row.agrees for row in clear)
    return OwnResults(
        answers=counted[:limit],
        agreed=agreed,
        unsure=len(counted) - len(clear),
        share=estimate_wilson(agreed, len(clear), minimum=1),
    )


def measure_team() -> list[GroupResult]:
    """Return the team's agreement, all together and by the group of the known answer.

    Only answers up to yesterday count, so that nobody can watch the figures while a person works.
    """
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = GoldenAnswer.objects.answered_before(midnight).exclude(verdict=Verdict.ESCALATE)
    tallies: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    every: list[tuple[int, bool]] = []
    for answer in rows.order_by("-answered_at")[:COUNTED_MAX]:
        one = (answer.person_id, answer.agrees)
        every.append(one)
        for group in _list_groups(answer.golden_image):
            tallies[group].append(one)
    order = {slug: place for place, slug in enumerate(_GROUP_NAMES)}
    by_group = sorted(tallies.items(), key=lambda item: order.get(item[0], len(order)))
    return [
        _summarize("All golden images", every),
        *(_summarize(_GROUP_NAMES.get(slug, slug), found) for slug, found in by_group),
    ]


_GROUP_NAMES: Final = {APPROVED_GROUP: "Approved", **{l1.slug: l1.name for l1 in taxonomy.L1}}


def _list_groups(golden_image: GoldenImage) -> set[str]:
    if golden_image.verdict == Verdict.APPROVE:
        return {APPROVED_GROUP}
    return {slug.partition(".")[0] for slug in golden_image.categories}


def _summarize(name: str, found: Iterable[tuple[int, bool]]) -> GroupResult:
    answers = list(found)
    if len({person for person, _ in answers}) < PEOPLE_MIN:
        return GroupResult(name=name, answers=len(answers), share=None)
    hits = sum(agrees for _, agrees in answers)
    share = estimate_wilson(hits, len(answers), minimum=1)
    return GroupResult(name=name, answers=len(answers), share=share)

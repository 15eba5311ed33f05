"""Context of the pages of calibration sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q

from moderation.judgement.agreement import estimate_group_kappa
from moderation.judgement.estimates import Figure
from moderation.models import (
    CalibrationAnswer,
    CalibrationImage,
    CalibrationParticipant,
    CalibrationSession,
    Decision,
    GoldenImage,
)
from moderation.models.preferences import ImageCover
from moderation.presenters.charts.formats import format_share
from moderation.presenters.partials import render_category_tree
from moderation.presenters.team import list_tabs
from moderation.services import calibrations, golden_images

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from moderation.models import Preferences

SESSIONS_SHOWN = 50
VERDICTS = ("approve", "reject", "escalate")


def build_list(user: User) -> dict[str, Any]:
    """Build the list of a person's sessions, newest first."""
    rows = CalibrationSession.objects.visible_to(user).select_related("created_by")
    rows = rows.annotate(
        image_count=Count("images", distinct=True),
        people=Count("participants", distinct=True),
        finished=Count(
            "participants", filter=Q(participants__finished_at__isnull=False), distinct=True
        ),
    )
    sessions = list(rows.order_by("-pk")[:SESSIONS_SHOWN])
    waiting = CalibrationParticipant.objects.filter(
        person=user, finished_at__isnull=True, session__in=[row.pk for row in sessions]
    )
    open_for_user = set(waiting.values_list("session", flat=True))
    return {
        "tabs": list_tabs(user, "Calibrations"),
        "sessions": [(row, _describe_state(row, row.pk in open_for_user)) for row in sessions],
        "may_start": user.has_perm(calibrations.START),
    }


def _describe_state(session: CalibrationSession, waits: bool) -> tuple[str, str]:
    if session.closed_at is not None:
        return "cancelled", "Closed"
    return ("pending", "Waits for you") if waits else ("processing", "Open")


def build_progress(session: CalibrationSession) -> dict[str, Any]:
    """Build how many have finished, without answers."""
    found = session.participants.aggregate(
        people=Count("pk"), finished=Count("pk", filter=Q(finished_at__isnull=False))
    )
    return {**found, "image_count": session.images.count()}


# --- Judging ---


def build_judging(
    participant: CalibrationParticipant,
    preferences: Preferences,
    *,
    position: int | None,
    reveal: str,
    chosen: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Build the page of one image: the wanted one, else the first without an answer."""
    rows = CalibrationImage.objects.filter(session=participant.session_id)
    images = list(rows.select_related("review__asset__request"))
    answers = {row.image_id: row for row in participant.answers.all()}
    left = [image for image in images if image.pk not in answers]
    wanted = [image for image in images if image.position == position]
    image = (wanted or left or images[-1:])[0]
    mine = answers.get(image.pk)
    if chosen is None:
        chosen = mine.categories if mine else []
    review = image.review
    cover = preferences.cover_for(review.top_category_l1)
    request = review.asset.request
    if request is not None and not request.is_visible_to(participant.person):
        request = None
    return {
        "image": image,
        "review": review,
        "asset": review.asset,
        "generation": request,
        "steps": [(one.position, one.pk in answers, one == image) for one in images],
        "done": len(answers),
        "total": len(images),
        "is_complete": not left,
        "mine": mine,
        "chosen": chosen,
        "category_tree": render_category_tree(chosen),
        "note": mine.note if mine else "",
        "revealed": reveal == "1" or (reveal != "0" and cover != ImageCover.BLUR),
        "is_grey": cover == ImageCover.GREY,
        "preferences": preferences,
    }


# --- Comparison ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedImage:
    """One row of the matrix: an image, and the answer of each person or None."""

    image: CalibrationImage
    answers: list[tuple[str, CalibrationAnswer | None]]
    standing: Decision | None
    differs: bool
    may_be_golden: bool


def build_comparison(session: CalibrationSession, user: User) -> dict[str, Any]:
    """Build the matrix of images and people, and their agreement."""
    people = calibrations.list_comparable(session)
    rows = CalibrationImage.objects.filter(session=session).select_related("review__asset")
    images = list(rows.prefetch_related("notes__author"))
    given = {
        (row.image_id, row.participant_id): row
        for row in CalibrationAnswer.objects.filter(image__session=session, participant__in=people)
    }
    standing = Decision.objects.map_last_effective([image.review_id for image in images])
    markable = _find_markable(images, user)
    compared = [
        _compare(image, people, given, standing.get(image.review_id), markable) for image in images
    ]
    verdicts = [[one.verdict for _, one in row.answers if one] for row in compared]
    pairs = [(a == b) for row in verdicts for a, b in combinations(row, 2)]
    return {
        "people": [one.person.get_username() for one in people],
        "rows": compared,
        "waiting": session.participants.count() - len(people),
        "agreement": format_share(sum(pairs) / len(pairs)) if pairs else "–",
        "pairs": len(pairs),
        "kappa": _format_kappa(measure_kappa(verdicts)),
        "differing": sum(row.differs for row in compared),
    }


def _find_markable(images: Sequence[CalibrationImage], user: User) -> set[int]:
    """Return the reviews that this person can make golden, without those that are."""
    found = {one.review_id for one in images if golden_images.may_mark(one.review, user)}
    golden = GoldenImage.objects.in_use().filter(review__in=found)
    return found - set(golden.values_list("review", flat=True))


def _compare(
    image: CalibrationImage,
    people: Sequence[CalibrationParticipant],
    given: dict[tuple[int, int], CalibrationAnswer],
    standing: Decision | None,
    markable: set[int],
) -> ComparedImage:
    answers = [(one.person.get_username(), given.get((image.pk, one.pk))) for one in people]
    verdicts = {row.verdict for _, row in answers if row is not None}
    agreed = standing is not None and verdicts == {standing.verdict}
    return ComparedImage(
        image=image,
        answers=answers,
        standing=standing,
        differs=len(verdicts) > 1,
        may_be_golden=agreed and image.review_id in markable,
    )


def measure_kappa(verdicts: Sequence[Sequence[str]]) -> Figure:
    """Return the kappa of all participants from their verdicts on each image."""
    return estimate_group_kappa([[row.count(name) for name in VERDICTS] for row in verdicts])


def _format_kappa(figure: Figure) -> tuple[str, str]:
    if figure.value is None or figure.low is None or figure.high is None:
        return "–", "not known: too few images, or one verdict only"
    return f"{figure.value:.2f}", f"95 % interval {figure.low:.2f} to {figure.high:.2f}"

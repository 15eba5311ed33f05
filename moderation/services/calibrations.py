"""Calibration sessions: draw the images, take the answers, compare them when all have finished.

Answers are no decisions. A participant sees those of the others who have finished after finishing
themselves, and everybody sees all when the session is closed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from moderation.models import (
    CalibrationAnswer,
    CalibrationImage,
    CalibrationNote,
    CalibrationParticipant,
    CalibrationSession,
    Review,
    Verdict,
)
from moderation.services import decisions

if TYPE_CHECKING:
    from moderation.models.reviews import ReviewQuerySet

START: Final = "moderation.add_calibrationsession"
IMAGES_MAX: Final = 20
PEOPLE_MIN: Final = 2
PEOPLE_MAX: Final = 12
DRAWN_FROM: Final = 2000  # newest decided reviews
DISPUTED: Final = "disputed"
MIXED: Final = "mixed"
NOTE_MAX: Final = 2000


class CalibrationError(Exception):
    """A refused step of a calibration session. ``str(error)`` is a message for the user."""


# --- Start ---


def list_possible_people() -> list[User]:
    """Return the active people who may decide reviews, by name."""
    needed = Permission.objects.filter(
        content_type__app_label="moderation",
        codename__in=["decide_review", "decide_lead_review"],
    )
    able = Q(groups__permissions__in=needed) | Q(user_permissions__in=needed) | Q(is_superuser=True)
    rows = User.objects.filter(able, is_active=True).distinct().order_by("username")
    return list(rows[:200])


def draw_reviews(*, source: str, count: int, people: Sequence[User]) -> list[Review]:
    """Draw settled images by chance: those people disagreed on, of an L1 category, or any.

    Images that one of the people requested are left out.
    """
    rows: ReviewQuerySet = Review.objects.filter(
        status__in=Review.DECIDED,
        decided_at__isnull=False,
        decided_by__isnull=False,
        asset__purged_at__isnull=True,
    )
    if source == DISPUTED:
        rows = rows.filter(second_opinion=Review.SecondOpinion.DISAGREED)
    if not settings.DECIDE_OWN_REQUESTS:
        rows = rows.exclude(requested_by__in=[person.pk for person in people])
    rows = rows.exclude(second_opinion=Review.SecondOpinion.WANTED).order_by("-pk")
    newest = list(rows.values_list("pk", "top_category_l1")[:DRAWN_FROM])
    found = [pk for pk, l1 in newest if source in (DISPUTED, MIXED) or l1 == source]
    chosen = random.SystemRandom().sample(found, min(count, len(found)))
    return list(Review.objects.filter(pk__in=chosen).order_by("?"))


def find_reviews(names: Sequence[str]) -> list[Review]:
    """Return the settled reviews with these ids of reviews or assets. Raises CalibrationError."""
    uuids = []
    for name in names:
        try:
            uuids.append(UUID(name))
        except ValueError:
            raise CalibrationError(f"“{name[:60]}” is no id of an image.") from None
    rows = Review.objects.filter(Q(uuid__in=uuids) | Q(asset__uuid__in=uuids)).select_related(
        "asset"
    )
    found = {key: row for row in rows for key in (row.uuid, row.asset.uuid)}
    for uuid in uuids:
        if uuid not in found:
            raise CalibrationError(f"There is no image {uuid}.")
        if not found[uuid].is_decided:
            raise CalibrationError(f"Image {found[uuid].asset.short_id} is not settled yet.")
        if found[uuid].asset.is_purged:
            raise CalibrationError(f"The files of image {found[uuid].asset.short_id} were removed.")
    return list({found[uuid].pk: found[uuid] for uuid in uuids}.values())


@transaction.atomic
def start(
    *, user: User, title: str, people: Sequence[User], reviews: Sequence[Review]
) -> CalibrationSession:
    """Start a session. Raises CalibrationError."""
    if not PEOPLE_MIN <= len(people) <= PEOPLE_MAX:
        raise CalibrationError(f"Choose {PEOPLE_MIN} to {PEOPLE_MAX} people.")
    if not reviews:
        raise CalibrationError("No settled image fits. Choose another source, or name images.")
    if len(reviews) > IMAGES_MAX:
        raise CalibrationError(f"A session has at most {IMAGES_MAX} images.")
    session = CalibrationSession.objects.create(title=title, created_by=user)
    CalibrationImage.objects.bulk_create(
        CalibrationImage(session=session, review=review, position=position)
        for position, review in enumerate(reviews, start=1)
    )
    CalibrationParticipant.objects.bulk_create(
        CalibrationParticipant(session=session, person=person) for person in people
    )
    return session


# --- Answers ---


@transaction.atomic
def answer(
    *,
    participant: CalibrationParticipant,
    position: int,
    verdict: str,
    categories: Sequence[str],
    note: str,
) -> CalibrationAnswer:
    """Store or change an answer. Raises CalibrationError, InvalidDecisionError."""
    _require_open(participant)
    image = CalibrationImage.objects.filter(
        session=participant.session_id, position=position
    ).first()
    if image is None:
        raise CalibrationError("The session has no such image.")
    if verdict not in decisions.VERDICTS:
        raise CalibrationError("Choose approve, reject or escalate.")
    chosen = decisions.check_categories(Verdict(verdict), categories)
    row, is_new = CalibrationAnswer.objects.update_or_create(
        image=image,
        participant=participant,
        defaults={
            "verdict": verdict,
            "categories": chosen,
            "note": note.strip()[:NOTE_MAX],
            "answered_at": timezone.now(),
        },
    )
    if is_new:
        decisions.count_exposure(participant.person, [(image.review, chosen)])
    return row


def finish(participant: CalibrationParticipant) -> None:
    """Finish the own part; the answers then stay as they are. Raises CalibrationError."""
    _require_open(participant)
    missing = participant.session.images.count() - participant.answers.count()
    if missing:
        raise CalibrationError(f"{missing} image{'s' if missing > 1 else ''} still wait for you.")
    CalibrationParticipant.objects.filter(pk=participant.pk).update(finished_at=timezone.now())


def close(*, session: CalibrationSession, user: User) -> None:
    """Close a session for everybody. Raises CalibrationError."""
    if session.created_by_id != user.pk:
        raise CalibrationError("Only the person who started the session closes it.")
    CalibrationSession.objects.filter(pk=session.pk, closed_at=None).update(
        closed_at=timezone.now()
    )


def _require_open(participant: CalibrationParticipant) -> None:
    locked = CalibrationParticipant.objects.select_for_update(of=("self",)).select_related(
        "session"
    )
    current = locked.get(pk=participant.pk)
    if current.session.closed_at is not None:
        raise CalibrationError("The session is closed.")
    if current.finished_at is not None:
        raise CalibrationError("You have finished: your answers stay as they are.")


# --- Comparison ---


def may_compare(session: CalibrationSession, participant: CalibrationParticipant | None) -> bool:
    """Return whether this person may see answers of others now."""
    if session.closed_at is not None:
        return True
    return participant is not None and participant.finished_at is not None


def list_comparable(session: CalibrationSession) -> list[CalibrationParticipant]:
    """Return the participants whose answers are shown: all of a closed session, else finished."""
    rows = session.participants.select_related("person").order_by("person__username")
    return list(rows if session.closed_at else rows.filter(finished_at__isnull=False))


def add_note(*, image: CalibrationImage, user: User, text: str) -> None:
    """Add a remark on an image. Raises CalibrationError."""
    if not text.strip():
        raise CalibrationError("Write a note first.")
    CalibrationNote.objects.create(image=image, author=user, text=text.strip()[:NOTE_MAX])


def count_waiting(user: User) -> int:
    """Return in how many open sessions this person has not finished."""
    return CalibrationParticipant.objects.filter(
        person=user, finished_at__isnull=True, session__closed_at__isnull=True
    ).count()

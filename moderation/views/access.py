"""Lookups by URL, with permission checks. Views load objects only through these."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import Http404, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404

from generation.core.db.prepared.query import PreparedQuery
from generation.core.htmx import HtmxHttpRequest
from moderation import queues
from moderation.models import Decision, Review, SavedQueue
from moderation.queues import Queue
from moderation.services import decisions, golden_images

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class DeskRequest(HtmxHttpRequest):
    """A request of a logged-in user, which LoginRequiredMiddleware guarantees."""

    user: User


class SeeOther(HttpResponseRedirect):
    """A redirect to the result of a POST."""

    status_code = 303


def get_review_for(user: User, uuid: UUID, *, for_screen: bool = False) -> Review:
    """Return a review that the user may view, or raise Http404.

    A golden image looks like a waiting one to the person who holds it. ``for_screen``: with the
    related rows of the review page.
    """
    query = _FOR_SCREEN if for_screen else _ALONE
    review = query.row(uuid=uuid) if user.has_perm("moderation.view_review") else None
    if review is None:
        raise Http404
    if review.is_golden_to(user):
        review.appear_waiting()
    return review


def get_review_ref(user: User, uuid: UUID) -> decisions.ReviewRef:
    """Return a reference without loading: the service reads the review under its lock."""
    if not user.has_perm("moderation.view_review"):
        raise Http404
    return decisions.ReviewRef(uuid)


_ALONE = PreparedQuery(lambda uuid: Review.objects.filter(uuid=uuid), uuid=UUID)
_FOR_SCREEN = PreparedQuery(lambda uuid: Review.objects.for_screen().filter(uuid=uuid), uuid=UUID)


def get_decision_for(user: User, uuid: UUID) -> Decision:
    """Return a decision, or the user's own answer to a golden image in the form of one."""
    rows = Decision.objects.select_related("review", "reversed_by")
    if not user.has_perm("moderation.view_decision"):
        rows = rows.none()
    decision = rows.filter(uuid=uuid).first()
    if decision is None and (answer := golden_images.find_undoable(user, uuid)) is not None:
        return answer.as_decision()
    if decision is None:
        raise Http404
    return decision


def get_queue_for(user: User, slug: str, filters: QueryDict) -> Queue:
    queue = queues.QUEUES.get(slug)
    if queue is None or not queue.is_open_to(user):
        raise Http404
    return queue.narrowed({name: str(value) for name, value in filters.items()})


def get_saved_queue_for(user: User, uuid: UUID) -> SavedQueue:
    """Return the user's own saved queue, to change it; shared ones of others cannot be changed."""
    return get_object_or_404(SavedQueue.objects.filter(owner=user), uuid=uuid)


def find_queue_for(user: User, data: QueryDict) -> Queue | None:
    """Return the queue named in the form data, or None if the user may not use it."""
    return queues.find_queue(data.get("queue", ""), user)


def parse_uuids(values: list[str]) -> list[UUID]:
    """Parse UUIDs and drop invalid ones, which no page of ours sends."""
    found = []
    for value in values:
        try:
            found.append(UUID(value))
        except ValueError:
            continue
    return found


def parse_timestamp(value: str) -> datetime | None:
    """Parse an aware ISO 8601 timestamp to UTC; None if invalid, which no page of ours sends."""
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None

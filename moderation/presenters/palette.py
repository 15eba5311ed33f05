"""Entries of the command palette that the page itself does not contain: queues and ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import F, QuerySet, Value
from django.urls import reverse

from generation.models import GenerationRequest
from moderation import queues
from moderation.models import Decision, Review

if TYPE_CHECKING:
    from django.contrib.auth.models import User

FOUND_MAX = 8
DIGITS_MIN = 6  # with 10 million rows fewer than two have the same six digits
UUID_DIGITS = 32
REQUEST = "Request"
Entry = dict[str, str]


def list_queue_entries(user: User) -> list[Entry]:
    """Return two entries for each queue that the user may use: look at it, and start reviewing."""
    found = []
    for queue in (*queues.list_queues(user), *queues.list_saved_queues(user)):
        found.append({"kind": "Queue", "label": queue.name, "url": queue.get_absolute_url()})
        label = f"Start reviewing: {queue.name}"
        found.append({"kind": "Action", "label": label, "url": queue.claims_url, "method": "post"})
    return found


def find_ids(user: User, text: str) -> list[Entry]:
    """Return images, reviews, decisions and requests whose UUID begins with the text.

    Images lead to the review page, or to the dossier for people without a queue. One query; each
    part of it is a range of a unique index.
    """
    bounds = _parse_prefix(text)
    if bounds is None:
        return []
    may_review = bool(queues.list_queues(user))
    parts = list(_iter_lookups(user, bounds, may_review=may_review))
    if not parts:
        return []
    rows = parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]
    views = {REQUEST: "generation:request-detail"}
    image_view = "moderation:review-detail" if may_review else "moderation:asset-detail"
    return [
        _describe(kind, uuid, views.get(kind, image_view), target)
        for kind, uuid, target in rows[:FOUND_MAX]
    ]


def _parse_prefix(text: str) -> tuple[UUID, UUID] | None:
    """Return the first and the last UUID that begin with the digits; None for other texts."""
    digits = text.strip().removeprefix("#").replace("-", "").lower()
    if not DIGITS_MIN <= len(digits) <= UUID_DIGITS or not set(digits) <= set("0123456789abcdef"):
        return None
    return UUID(digits.ljust(UUID_DIGITS, "0")), UUID(digits.ljust(UUID_DIGITS, "f"))


def _iter_lookups(
    user: User, bounds: tuple[UUID, UUID], *, may_review: bool
) -> Iterator[QuerySet[Any, Any]]:
    """Yield one query for each kind of object: its kind, its UUID and the UUID of its page."""

    def select(rows: QuerySet[Any], kind: str, field: str, target: str) -> QuerySet[Any, Any]:
        rows = rows.filter(**{f"{field}__range": bounds}).order_by()
        return rows.values_list(Value(kind), F(field), F(target))

    target = "uuid" if may_review else "asset__uuid"
    if user.has_perm("moderation.view_review"):
        yield select(Review.objects.all(), "Image", "asset__uuid", target)
        yield select(Review.objects.all(), "Review", "uuid", target)
    if user.has_perm("moderation.view_decision"):
        yield select(Decision.objects.all(), "Decision", "uuid", f"review__{target}")
    visible = GenerationRequest.objects.visible_to(user)
    yield select(visible, REQUEST, "uuid", "uuid")


def _describe(kind: str, uuid: UUID, view: str, target: UUID) -> Entry:
    return {"kind": kind, "label": str(uuid), "url": reverse(view, args=[target])}

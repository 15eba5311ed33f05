"""Save and delete queue filters under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from moderation import queues
from moderation.models import SavedQueue
from moderation.queues import Queue
from moderation.services import decisions

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SAVED_MAX = 30


def save(*, user: User, queue: Queue, name: str, is_shared: bool = False) -> SavedQueue:
    """Save a queue's filters under a name.

    Raises NotPermittedError or InvalidDecisionError.
    """
    if is_shared and not queues.may_share(user):
        raise decisions.NotPermittedError(
            "Only senior moderators and policy leads can save queues for everybody."
        )
    if not queue.is_narrowed:
        raise decisions.InvalidDecisionError(
            "Set a filter first: without one, this is the standard queue."
        )
    if user.saved_queues.count() >= SAVED_MAX:
        raise decisions.InvalidDecisionError(
            f"You have {SAVED_MAX} saved queues. Delete one first."
        )
    try:
        with transaction.atomic():
            return SavedQueue.objects.create(
                owner=user, name=name, is_shared=is_shared, base=queue.slug, query=queue.query
            )
    except IntegrityError:
        raise decisions.InvalidDecisionError(
            f"You already have a saved queue named “{name}”. Choose another name."
        ) from None


def delete(*, saved: SavedQueue) -> None:
    """Delete a saved queue. Decisions made through it are unchanged."""
    saved.delete()

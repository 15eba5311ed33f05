"""Queue webhook events: one when all images of a request are decided, one when that is undone.

Rounds count how often a request was finished: FINISHED of round 1; after a reversal, WITHDRAWN of
round 1; once all images are decided again, FINISHED of round 2. The state of the rows alone
decides, so a repeated check queues nothing twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from generation import jobs
from generation.core.db.prepared.query import PreparedQuery
from generation.models import GenerationRequest, InvalidTransitionError
from moderation.models import Delivery, Review

Kind = Delivery.Kind
# Maximum age of a request that ended without any decision and still gets its event.
LOOK_BACK = timedelta(days=7)


def queue_events(review: Review) -> None:
    """Queue events after a review changed.

    Must run in the transaction of the decision or reversal, after the change of status. The check
    is skipped for reviews annotated with ``has_listener=False``.
    """
    if not getattr(review, "has_listener", True):
        return
    for request in _WANTING.rows(asset=review.asset_id):
        _queue_missing(request)


def find_listeners(asset: Any) -> QuerySet[GenerationRequest]:
    """Return the request of an asset if it has a callback URL."""
    return GenerationRequest.objects.filter(assets=asset).exclude(callback_url="")


# no_key: storing another image of this request takes a weaker lock on its row and must not wait.
_WANTING = PreparedQuery(
    lambda asset: (
        find_listeners(asset).only("finished_at").select_for_update(of=("self",), no_key=True)
    ),
    asset=int,
)


def find_owed() -> QuerySet[GenerationRequest]:
    """Return ended requests, all decided, without an event: mostly failed ones.

    Also requests whose last image was decided while the one before was being stored.
    """
    told = Delivery.objects.filter(request=OuterRef("pk"), created_at__gte=OuterRef("finished_at"))
    undecided = Review.objects.filter(asset__request=OuterRef("pk")).exclude(
        status__in=Review.DECIDED
    )
    recent = GenerationRequest.objects.filter(
        created_at__gte=timezone.now() - LOOK_BACK,
        api_key__isnull=False,
        status__in=GenerationRequest.FINISHED,
    )
    return recent.exclude(callback_url="").filter(~Exists(told), ~Exists(undecided))


def queue_owed() -> None:
    """Queue the missing events of ended requests."""
    for primary_key in list(find_owed().values_list("pk", flat=True)[:1000]):
        with transaction.atomic():
            _queue_missing(
                GenerationRequest.objects.select_for_update(no_key=True).get(pk=primary_key)
            )


def _queue_missing(request: GenerationRequest) -> None:
    if request.finished_at is None:
        return
    last = Delivery.objects.filter(request=request).order_by("-pk").first()
    # An event before finished_at belongs to an earlier run: the failed request was retried since.
    is_told = (
        last is not None and last.kind == Kind.FINISHED and last.created_at >= request.finished_at
    )
    undecided = Review.objects.filter(asset__request=request).exclude(status__in=Review.DECIDED)
    is_complete = not undecided.exists()
    if is_complete and not is_told:
        _queue_event(request, Kind.FINISHED, 1 + (last.round if last else 0))
    elif not is_complete and is_told and last is not None:
        _queue_event(request, Kind.WITHDRAWN, last.round)


def _queue_event(request: GenerationRequest, kind: str, number: int) -> None:
    now = timezone.now()
    # At least finished_at, because the clock of another host may be ahead.
    created = max(now, request.finished_at or now)
    row = Delivery(request=request, kind=kind, round=number, due_at=now, created_at=created)
    # Ignore conflicts: a concurrent request may have queued the same event.
    Delivery.objects.bulk_create([row], ignore_conflicts=True)
    jobs.wake("deliver")


def send_again(delivery: Delivery) -> bool:
    """Make a failed or waiting delivery due now, with all attempts; False if it was delivered."""
    now = timezone.now()
    waiting = Delivery.objects.filter(pk=delivery.pk, status=Delivery.Status.WAITING)
    # A worker may be sending it at this moment. Programs recognise the repetition by its id.
    if waiting.update(due_at=now, attempts=0):
        return True
    try:
        delivery.move_to(
            Delivery.Status.WAITING,
            only_from=Delivery.Status.FAILED,
            due_at=now,
            attempts=0,
            finished_at=None,
            error="",
        )
    except InvalidTransitionError:
        return False
    return True

"""What programs are owed: one event when all images of a request are decided, another when that is
taken back.

Rounds count how often a request was finished. FINISHED of round 1; a reversal queues WITHDRAWN of
round 1; once all is decided again, FINISHED of round 2. Rows alone decide, so that looking twice
queues nothing twice.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from generation import jobs
from generation.core.db.prepared.query import PreparedQuery
from generation.models import GenerationRequest
from moderation.models import Delivery, Review

Kind = Delivery.Kind
# How long after it was made a request is still looked for that ended with nobody deciding anything.
LOOKED_FOR = timedelta(days=7)


def review_moved(review: Review) -> None:
    """Call it in the transaction that decides a review or reverses a decision, after the review has
    moved.

    A review that was read with ``has_listener`` says whether there is anything to look for.
    """
    if not getattr(review, "has_listener", True):
        return
    for request in _WANTING.rows(asset=review.asset_id):
        _bring_up_to_date(request)


def listeners(asset: Any) -> QuerySet[GenerationRequest]:
    """The request of an asset, if a program waits for events about it."""
    return GenerationRequest.objects.filter(assets=asset).exclude(callback_url="")


# no_key: whoever stores another image of this request holds a weaker lock on its row, and waits for
# nobody.
_WANTING = PreparedQuery(
    lambda asset: listeners(asset).only("finished_at").select_for_update(of=("self",), no_key=True),
    asset=int,
)


def owed() -> QuerySet[GenerationRequest]:
    """Requests that have ended, all decided, of which nobody was told: those that failed, mostly.

    Also the rare one whose last image was decided while its last but one was being stored.
    """
    told = Delivery.objects.filter(request=OuterRef("pk"), created_at__gte=OuterRef("finished_at"))
    undecided = Review.objects.filter(asset__request=OuterRef("pk")).exclude(
        status__in=Review.DECIDED
    )
    recent = GenerationRequest.objects.filter(
        created_at__gte=timezone.now() - LOOKED_FOR,
        api_key__isnull=False,
        status__in=GenerationRequest.FINISHED,
    )
    return recent.exclude(callback_url="").filter(~Exists(told), ~Exists(undecided))


def queue_owed() -> None:
    for primary_key in list(owed().values_list("pk", flat=True)[:1000]):
        with transaction.atomic():
            _bring_up_to_date(
                GenerationRequest.objects.select_for_update(no_key=True).get(pk=primary_key)
            )


def _bring_up_to_date(request: GenerationRequest) -> None:
    if request.finished_at is None:
        return
    last = Delivery.objects.filter(request=request).order_by("-pk").first()
    # An event from before the end is about an earlier run: somebody has retried a failed request
    # since.
    is_told = (
        last is not None and last.kind == Kind.FINISHED and last.created_at >= request.finished_at
    )
    undecided = Review.objects.filter(asset__request=request).exclude(status__in=Review.DECIDED)
    is_complete = not undecided.exists()
    if is_complete and not is_told:
        _queue(request, Kind.FINISHED, 1 + (last.round if last else 0))
    elif not is_complete and is_told and last is not None:
        _queue(request, Kind.WITHDRAWN, last.round)


def _queue(request: GenerationRequest, kind: str, number: int) -> None:
    now = timezone.now()
    # Never before the end it tells of, whatever another host's clock says.
    created = max(now, request.finished_at or now)
    row = Delivery(request=request, kind=kind, round=number, due_at=now, created_at=created)
    # A decision must not fail because somebody else has queued its event.
    Delivery.objects.bulk_create([row], ignore_conflicts=True)
    jobs.wake("deliver")

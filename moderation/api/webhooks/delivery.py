"""Delivery of webhook events.

Novita's rule: a timeout of 5 seconds, and at most five retries without a 2xx status. The growing
delays are Loupe's.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils import timezone

from generation import fetching
from generation.core.db.state_machine import DueQuerySet
from generation.models import ApiKey, InvalidTransitionError, ServiceCall
from generation.services import service_calls
from generation.wire import task as wire
from moderation.api.novita import results
from moderation.api.webhooks import client
from moderation.models import Delivery
from moderation.services import webhook_events

Status = Delivery.Status
SPACING = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
)
ATTEMPTS = 1 + len(SPACING)
LEASE = timedelta(seconds=60)
BATCH = 8  # sent in parallel, so that one slow host does not delay the others
OUTDATED = "The event was no longer true when it could be sent."

Outcome = int | fetching.BlockedAddressError | fetching.FetchError


@dataclass(frozen=True, slots=True)
class PreparedDelivery:
    """A webhook ready to be sent: all data for a thread, which must not use the database."""

    delivery: Delivery
    url: str
    secret: str
    content: bytes


def find_ready() -> DueQuerySet[Delivery]:
    """Return waiting deliveries without an earlier one waiting for the same request.

    Events arrive in order.
    """
    earlier = Delivery.objects.filter(
        request=OuterRef("request"), status=Status.WAITING, pk__lt=OuterRef("pk")
    )
    return Delivery.objects.filter(~Exists(earlier), status=Status.WAITING)


def is_due() -> bool:
    return find_ready().due().exists() or webhook_events.find_owed().exists()


def deliver(*, go_on: Callable[[], bool]) -> None:
    """Send due deliveries in batches."""
    webhook_events.queue_owed()
    with ThreadPoolExecutor(BATCH, thread_name_prefix="deliver") as threads:
        while go_on():
            claimed = find_ready().claim(limit=BATCH, lease=LEASE, count_attempt=True)
            if not claimed:
                return
            rows = Delivery.objects.filter(pk__in=[row.pk for row in claimed]).select_related(
                "request__api_key"
            )
            letters = [letter for row in rows if (letter := _prepare(row)) is not None]
            for letter, (outcome, milliseconds) in zip(
                letters, threads.map(_send, letters), strict=True
            ):
                _record_outcome(letter.delivery, outcome, milliseconds)


def _prepare(delivery: Delivery) -> PreparedDelivery | None:
    """Build the message now, or give the delivery up and return None."""
    request = delivery.request
    if refused := _find_refusal(delivery):
        _give_up(delivery, refused)
        return None
    payload = results.reply(request, event=delivery.kind, round_number=delivery.round)
    if (delivery.kind == Delivery.Kind.FINISHED) != _has_ended(payload) or _is_superseded(delivery):
        _give_up(delivery, OUTDATED)
        return None
    payload["extra"]["webhook"] = {"url": request.callback_url}
    assert request.api_key is not None
    return PreparedDelivery(
        delivery, request.callback_url, request.api_key.webhook_secret, client.build_event(payload)
    )


def _find_refusal(delivery: Delivery) -> str:
    """Return the reason for not sending at all; "" without one."""
    request = delivery.request
    if (
        request.api_key is None
        or not ApiKey.objects.usable().filter(pk=request.api_key.pk).exists()
    ):
        return (
            "The API key was revoked or has expired, or its owner's account is "
            "inactive: no event is sent."
        )
    if delivery.attempts > ATTEMPTS:
        return f"Failed after {ATTEMPTS} attempts. The last attempt crashed its worker."
    return ""


def _has_ended(payload: dict[str, Any]) -> bool:
    return payload["task"]["status"] in (wire.STATUS_SUCCEED, wire.STATUS_FAILED)


def _is_superseded(delivery: Delivery) -> bool:
    """Return whether a later delivery has the same kind.

    That happens if a request was decided, reversed and decided again before sending.
    """
    later = Delivery.objects.filter(
        request=delivery.request, kind=delivery.kind, pk__gt=delivery.pk
    )
    return later.exists()


def _send(letter: PreparedDelivery) -> tuple[Outcome, int]:
    """Send one event; return the outcome and the duration in milliseconds."""
    outcome: Outcome
    with service_calls.measure() as stopwatch:
        try:
            outcome = client.send(
                letter.url,
                secret=letter.secret,
                delivery=letter.delivery.uuid,
                content=letter.content,
            )
        except (fetching.BlockedAddressError, fetching.FetchError) as error:
            outcome = error
    return outcome, stopwatch.milliseconds


def _record_outcome(delivery: Delivery, outcome: Outcome, milliseconds: int) -> None:
    status = outcome if isinstance(outcome, int) else None
    is_delivered = status is not None and client.is_success(status)
    service_calls.record_calls(
        "webhooks",
        ServiceCall.Kind.DELIVER,
        ServiceCall.Outcome.DONE if is_delivered else ServiceCall.Outcome.FAILED,
        milliseconds=milliseconds,
    )
    if is_delivered:
        _end(delivery, Status.DELIVERED, answer=status, error="")
    elif isinstance(outcome, fetching.BlockedAddressError):
        _give_up(delivery, f"The URL may not be called: {outcome}")
    else:
        message = f"The server answered {status}." if status is not None else str(outcome)
        if delivery.attempts >= ATTEMPTS:
            _give_up(delivery, f"Failed after {ATTEMPTS} attempts. {message}", answer=status)
            return
        mine = Delivery.objects.filter(pk=delivery.pk, lease=delivery.lease, status=Status.WAITING)
        due = timezone.now() + SPACING[delivery.attempts - 1]
        mine.update(due_at=due, answer=status, error=message)


def _give_up(delivery: Delivery, message: str, **fields: Any) -> None:
    _end(delivery, Status.FAILED, error=message, **fields)


def _end(delivery: Delivery, status: str, **fields: Any) -> None:
    try:
        delivery.move_to(
            status,
            where={"lease": delivery.lease},
            due_at=None,
            finished_at=timezone.now(),
            **fields,
        )
    except InvalidTransitionError:
        return  # the lease expired and another worker has sent it

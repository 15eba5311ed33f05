"""The page Today: what is waiting, what is running, what went wrong, for whoever looks.

Everything that is counted is counted up to a limit or read from a few rows, so that the page costs the same over ten
million images. Its numbers are Numbers: the page shows them where they belong, and its poll sends them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Min, Subquery
from django.utils import timezone

from config import operations
from generation.models import GenerationRequest, ProviderState, PumpSlot
from moderation import queues
from moderation.models import (
    ChainHead,
    Classification,
    DayFigures,
    Decision,
    Delivery,
    Policy,
    Review,
    Verification,
)
from moderation.models.figures import FIELDS
from moderation.queues import Queue
from moderation.screen import PAST, entries, verdicts_today
from moderation.screen.exposure import seen_by
from moderation.templatetags.desk import age

if TYPE_CHECKING:
    from django.contrib.auth.models import User

RECENT = 5
SHOWN = 5
# Older rows say nothing about now, and no index finds failures among them.
LOOK_BACK = 10_000
OVERDUE = timedelta(minutes=5)
Status = Review.Status


@dataclass(frozen=True, slots=True)
class Number:
    """A number on the page that keeps up with the world: its place, and what stands there now."""

    id: str
    text: str
    is_words: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    queue: Queue
    count: Number
    oldest: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How something outside fares, in a word with its tone."""

    label: str
    status: str  # for data-status
    word: str
    details: str = ""
    at: datetime | None = None


def today(user: User) -> dict[str, Any]:
    """The context of the page: the parts that this person's roles call for."""
    parts: dict[str, Any] = {**_running(user), **_wrong(user)}
    if user.has_perm("moderation.decide_review"):
        parts |= _mine(user)
    if user.has_perm("moderation.decide_escalated_review"):
        parts |= _seniors()
    if user.has_perm("moderation.activate_policy"):
        parts |= _policy()
    if user.is_staff:
        parts |= _operations()
    if user.has_perm("moderation.export_decision") and not user.has_perm("moderation.decide_review"):
        parts |= _record()
    return {**parts, "numbers": list(_numbers(parts))}


def _numbers(parts: dict[str, Any]) -> Iterable[Number]:
    for value in parts.values():
        if isinstance(value, Number):
            yield value
    for waiting in parts.get("queues", ()):
        yield from (waiting.count, waiting.oldest)
    yield from (number for _, _, number in parts.get("verdicts", ()))
    yield from (number for _, number in parts.get("figures", ()))


# --- Who decides ---


def _mine(user: User) -> dict[str, Any]:
    counts = verdicts_today(user)
    recent = Decision.objects.filter(reviewer=user).newest_first()
    rows = [_depth(queue, user) for queue in queues.for_user(user)]
    return {
        "queues": [row for row in rows if row.queue.slug != "mine"],
        "held": next((row.count for row in rows if row.queue.slug == "mine"), None),
        "verdicts": [(verdict, PAST[verdict], Number(f"n-{verdict}", str(counts.get(verdict, 0)))) for verdict in PAST],
        "recent": entries(recent.for_list()[:RECENT], user),
        "exposure": seen_by(user),
    }


def _depth(queue: Queue, user: User) -> Waiting:
    """How many wait, up to the limit, and since when the oldest does: one query. Ids follow arrival."""
    first = queue.reviews(user).order_by("pk").values("pk", "created_at")[: queues.COUNT_LIMIT + 1]
    found = first.aggregate(count=Count("pk"), since=Min("created_at"))
    oldest = f"oldest {age(found['since'])}" if found["since"] else "nothing waits"
    return Waiting(
        queue=queue, count=Number(f"n-{queue.slug}", queues.bounded(found["count"])),
        oldest=Number(f"o-{queue.slug}", oldest, is_words=True),
    )  # fmt: skip


def _seniors() -> dict[str, Any]:
    """Of the escalated ones: where two people disagreed. Looked for among the oldest, which are next."""
    oldest = Review.objects.standing_at(Status.ESCALATED).order_by("pk").values("pk")[: queues.COUNT_LIMIT]
    rows = Review.objects.filter(pk__in=oldest, second_opinion=Review.SecondOpinion.DISAGREED)
    return {"disagreements": Number("n-disagreements", str(rows.count()))}


# --- What runs, what went wrong ---


def _running(user: User) -> dict[str, Any]:
    rows = GenerationRequest.objects.visible_to(user).open()
    return {
        "running": list(rows.order_by("-created_at", "-pk")[:SHOWN]),
        "running_count": Number("n-running", queues.bounded_count(rows)),
        "classifying_count": Number(
            "n-classifying", queues.bounded_count(Review.objects.standing_at(Status.CLASSIFYING))
        ),
    }


def _wrong(user: User) -> dict[str, Any]:
    """Requests that failed since yesterday or need somebody, and images no classifier could judge that still wait."""
    seen = GenerationRequest.objects.visible_to(user)
    unknown = seen.filter(status=GenerationRequest.Status.UNKNOWN).order_by("-created_at")
    failed = seen.filter(status=GenerationRequest.Status.FAILED, created_at__gte=_yesterday()).order_by("-created_at")
    return {
        "unknown": list(unknown[:SHOWN]),
        "failed": list(failed[:SHOWN]),
        "unjudged": list(_unjudged()) if user.has_perm("moderation.view_review") else [],
    }


def _unjudged() -> Iterable[Classification]:
    newest = Classification.objects.order_by("-pk").values("pk")[:1]
    # By themselves first: in one join, SQLite would begin with all that waits and look for failures of each.
    failed = Classification.objects.filter(
        pk__gt=Subquery(newest) - LOOK_BACK, status=Classification.Status.FAILED, created_at__gte=_yesterday()
    )
    waiting = [Status.PENDING, Status.ESCALATED]
    runs = Classification.objects.filter(pk__in=failed.values("pk")[:LOOK_BACK], asset__review__status__in=waiting)
    return runs.select_related("asset__review").order_by("-pk")[:SHOWN]


def _yesterday() -> datetime:
    return timezone.now() - timedelta(days=1)


# --- Leads, operators, auditors ---


def _policy() -> dict[str, Any]:
    sums = dict.fromkeys(FIELDS, 0)
    for counts in DayFigures.since(timezone.now().date()).values():
        for field in FIELDS:
            sums[field] += counts[field]
    names = {
        "by_policy": "settled by itself",
        "by_people": "settled by people",
        "policy_reversed": "of its own reversed",
    }
    return {
        "policy": Policy.objects.filter(is_active=True).first(),
        "figures": [(name, Number(f"n-{field}", str(sums[field]))) for field, name in names.items()],
    }


def _operations() -> dict[str, Any]:
    now = timezone.now()
    states = {state.slug: state for state in ProviderState.objects.all()}
    newest = Delivery.objects.order_by("-pk").values("pk")[:LOOK_BACK]
    given_up = Delivery.objects.filter(pk__in=newest, status=Delivery.Status.FAILED, finished_at__gte=_yesterday())
    slots = PumpSlot.objects.running(now)
    running = sorted({slot.name for slot in slots if slot.name != PumpSlot.WORKER})
    return {
        "services": [_health(service, states.get(service.slug)) for service in operations.services()],
        "workers": sorted({slot.host for slot in slots if slot.name == PumpSlot.WORKER}),
        "pumps": running,
        "overdue": Number("n-overdue", str(Delivery.objects.filter(due_at__lt=now - OVERDUE)[:LOOK_BACK].count())),
        "given_up": Number("n-given-up", str(given_up.count())),
    }


def _health(service: operations.Service, state: ProviderState | None) -> Health:
    if service.state == "off":
        return Health(label=service.label, status="cancelled", word="Off")
    error, success = (state.last_error_at, state.last_success_at) if state else (None, None)
    if state and error and (success is None or success < error):
        return Health(label=service.label, status="failed", word="Failing", details=state.last_error, at=error)
    if success:
        return Health(label=service.label, status="succeeded", word="Works", at=success)
    return Health(label=service.label, status="queued", word="Not called yet")


def _record() -> dict[str, Any]:
    head = ChainHead.objects.filter(pk=1).first()
    return {
        "record_length": Number("n-record", f"{head.sequence if head else 0:,}".replace(",", " ")),
        "verification": Verification.objects.order_by("-pk").first(),
    }

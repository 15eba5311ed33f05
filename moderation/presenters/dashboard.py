"""Context of the page Today: waiting, running and failed work, by the viewer's roles.

Every count is bounded or reads few rows, so the page costs the same with ten million images. The
page's poll sends its Numbers again, each for its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, Subquery
from django.utils import dateformat, timezone

from generation.core.db.functions import Counted
from generation.models import GenerationRequest, JobSlot
from generation.services import storage_checks
from moderation import classifiers, queues, taxonomy
from moderation.models import (
    ChainHead,
    Chore,
    Classification,
    DailyStats,
    Decision,
    Delivery,
    Policy,
    Review,
    Verification,
)
from moderation.models.daily_stats import FIELDS
from moderation.presenters import providers, today_figures
from moderation.presenters.counters import Depth, load_counts
from moderation.presenters.exposure import load_exposure
from moderation.presenters.panel import build_history
from moderation.presenters.today_figures import Number
from moderation.queues import Queue
from moderation.services import calibrations, published_heads, sealing, second_opinions, traces
from moderation.services.decisions import may_decide
from moderation.templatetags.desk import age

RECENT = 5
SHOWN = 5
# Older rows do not show the current state, and failures have no index.
LOOK_BACK = 10_000
OVERDUE = timedelta(minutes=5)
Status = Review.Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A queue with its live count."""

    queue: Queue
    count: Number
    oldest: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of an external service, as one word with a tone."""

    label: str
    status: str  # for data-status
    word: str
    details: str = ""
    at: datetime | None = None


def build_dashboard(user: User, *, with_plots: bool = True) -> dict[str, Any]:
    """Build the context of the page for the user's roles; its poll leaves the plots out."""
    parts: dict[str, Any] = {
        "day": Number("n-day", dateformat.format(timezone.now(), "l j F")),
        **_build_storage_part(),
        **_build_running_part(user),
        **_build_problems_part(user),
    }
    if may_decide(user):
        parts |= _build_moderator_part(user)
    parts |= _build_disagreements_part(user)
    if user.has_perm("moderation.activate_policy"):
        parts |= _build_policy_part()
    if user.has_perm("moderation.view_operations"):
        parts |= _build_operations_part()
    if user.has_perm("moderation.export_decision") and not user.has_perm(
        "moderation.decide_review"
    ):
        parts |= _build_record_part()
    if with_plots and user.has_perm("moderation.view_review"):
        parts["calibrations"] = calibrations.count_waiting(user)
    parts["stats"] = today_figures.build_stats(user, parts, with_plots=with_plots)
    return {**parts, "numbers": list(_iter_numbers(parts))}


def _iter_numbers(parts: dict[str, Any]) -> Iterable[Number]:
    for value in parts.values():
        if isinstance(value, Number):
            yield value
    for waiting in parts.get("queues", ()):
        yield from (waiting.count, waiting.oldest)
    yield from (number for _, _, number in parts.get("verdicts", ()))
    yield from (number for _, number in parts.get("figures", ()))
    yield from (stat.number for stat in parts["stats"])


# --- For moderators ---


def _build_moderator_part(user: User) -> dict[str, Any]:
    numbers = load_counts(user)
    recent = Decision.objects.filter(reviewer=user).newest_first()
    rows = [_build_queue_row(depth) for depth in numbers.depths]
    return {
        "queues": [row for row in rows if row.queue.slug != "mine"],
        **_build_held_part(numbers.depths),
        "verdicts": [
            (verdict, name, Number(f"n-{verdict}", str(count)))
            for verdict, name, count in numbers.verdicts
        ],
        "recent": build_history(recent.for_list()[:RECENT], user),
        "exposure": load_exposure(user),
    }


def _build_held_part(depths: Iterable[Depth]) -> dict[str, Any]:
    count = next((depth.count for depth in depths if depth.queue.slug == "mine"), "0")
    return {
        "held": _count_noun("n-mine", count, "image", "reserved for you"),
        "is_holding": count != "0",
    }


def _count_noun(place: str, count: str, noun: str, rest: str) -> Number:
    """Return a number with its noun, singular for one."""
    return Number(place, f"{count} {noun}{'' if count == '1' else 's'} {rest}", is_words=True)


def _build_queue_row(depth: Depth) -> Waiting:
    slug, oldest = (
        depth.queue.slug,
        f"oldest {age(depth.since)}" if depth.since else "nothing waits",
    )
    return Waiting(
        queue=depth.queue,
        count=Number(f"n-{slug}", depth.count),
        oldest=Number(f"o-{slug}", oldest, is_words=True),
    )


def _build_disagreements_part(user: User) -> dict[str, Any]:
    """Count disagreements, and those without a settler for seniors and for those who give roles.

    Counted are the oldest escalated reviews, which are next in the queue.
    """
    is_senior = user.has_perm("moderation.decide_escalated_review")
    if not is_senior and not user.has_perm("moderation.manage_team"):
        return {}
    oldest = Review.objects.escalated().order_by("pk").values("pk")[: queues.COUNT_LIMIT]
    rows = Review.objects.filter(pk__in=oldest, second_opinion=Review.SecondOpinion.DISAGREED)
    count = rows.count()
    stuck = second_opinions.count_without_settler(rows) if count else 0
    part: dict[str, Any] = {
        "unsettled": _count_noun("n-unsettled", str(stuck), "disagreement", "without a settler"),
        "has_unsettled": stuck > 0,
    }
    if is_senior:
        part["disagreements"] = Number("n-disagreements", str(count))
    return part


# --- Running and failed work ---


def _build_running_part(user: User) -> dict[str, Any]:
    rows = GenerationRequest.objects.visible_to(user).open()
    counted = (rows, Review.objects.with_status(Status.CLASSIFYING))
    bounded = [Counted(one.values("pk")[: queues.COUNT_LIMIT + 1]) for one in counted]
    running, classifying = map(
        queues.format_bounded, User.objects.filter(pk=user.pk).values_list(*bounded).get()
    )
    return {
        "running": list(rows.order_by("-created_at", "-pk")[:SHOWN]),
        "running_count": _count_noun("n-running", running, "request", "in progress"),
        "classifying_count": _count_noun("n-classifying", classifying, "image", "being classified"),
    }


def _build_storage_part() -> dict[str, Any]:
    reports = storage_checks.load_reports()
    return {"storages": reports, "storage_problems": storage_checks.find_problems(reports)}


def _build_problems_part(user: User) -> dict[str, Any]:
    """Return requests that failed since yesterday or need a person, and waiting unjudged images."""
    seen = GenerationRequest.objects.visible_to(user).order_by("-created_at").values("pk")
    unknown = seen.filter(status=GenerationRequest.Status.UNKNOWN)[:SHOWN]
    failed = seen.filter(status=GenerationRequest.Status.FAILED, created_at__gte=_a_day_ago())[
        :SHOWN
    ]
    rows = list(
        GenerationRequest.objects.filter(Q(pk__in=unknown) | Q(pk__in=failed)).order_by(
            "-created_at"
        )
    )
    return {
        "unknown": [row for row in rows if row.status == GenerationRequest.Status.UNKNOWN],
        "failed": [row for row in rows if row.status == GenerationRequest.Status.FAILED],
        "unjudged": list(_find_unjudged()) if user.has_perm("moderation.view_review") else [],
    }


def _find_unjudged() -> Iterable[Classification]:
    newest = Classification.objects.order_by("-pk").values("pk")[:1]
    # Filtered in a subquery: with a single join, SQLite starts from all waiting reviews and
    # searches failures for each.
    failed = Classification.objects.filter(
        pk__gt=Subquery(newest) - LOOK_BACK,
        status=Classification.Status.FAILED,
        created_at__gte=_a_day_ago(),
    )
    waiting = [Status.PENDING, Status.ESCALATED]
    runs = Classification.objects.filter(
        pk__in=failed.values("pk")[:LOOK_BACK], asset__review__status__in=waiting
    )
    return runs.select_related("asset__review").order_by("-pk")[:SHOWN]


def _a_day_ago() -> datetime:
    return timezone.now() - timedelta(days=1)


# --- For policy leads, operators and auditors ---


def _build_policy_part() -> dict[str, Any]:
    sums = dict.fromkeys(FIELDS, 0)
    for counts in DailyStats.sum_since(timezone.now().date()).values():
        for field in FIELDS:
            sums[field] += counts[field]
    names = {
        "by_policy": "Decided automatically",
        "policy_reversed": "Of those, reversed",
        "by_people": "Decided by people",
    }
    policy = Policy.objects.filter(is_active=True).first()
    return {
        "policy": policy,
        "policy_limits": describe_policy(policy) if policy else "",
        "figures": [
            (name, Number(f"n-{field}", str(sums[field]))) for field, name in names.items()
        ],
    }


def describe_policy(policy: Policy) -> str:
    """Return sentences about what the policy approves."""
    if not policy.may_approve:
        return "Auto-approval is off."
    coverage = "covers fully" if policy.requires_full_coverage else "covers"
    sentences = [
        "Auto-approval is on: an image is approved when nothing is found that the policy acts on,"
        f" and “nothing found” counts. It counts for what a trusted classifier {coverage}."
    ]
    blurred = [rule.category for rule in policy.rules.all() if rule.blur_at is not None]
    if blurred:
        sentences.append(f"Delivered blurred from a confidence on: {taxonomy.join_names(blurred)}.")
    if policy.trusted_silences:
        names = ", ".join(map(classifiers.label, policy.trusted_silences))
        sentences.append(f"Also trusted: {names}.")
    if policy.accepted_unchecked:
        names = taxonomy.join_names(policy.accepted_unchecked)
        sentences.append(f"Approved although nothing checked: {names}.")
    if not policy.approves_imports:
        sentences.append("Imported files go to people.")
    if policy.reuses_approvals:
        sentences.append("A file that a person approved before is approved again.")
    if policy.trusts_allow_lists:
        sentences.append("A file on an allow list is approved.")
    return " ".join(sentences)


def _build_operations_part() -> dict[str, Any]:
    now = timezone.now()
    newest = Delivery.objects.order_by("-pk").values("pk")[:LOOK_BACK]
    given_up = Delivery.objects.filter(
        pk__in=newest, status=Delivery.Status.FAILED, finished_at__gte=_a_day_ago()
    )
    slots = JobSlot.objects.running(now)
    workers = sorted(slot.host for slot in slots if slot.name == JobSlot.WORKER)
    running = sorted({slot.name for slot in slots if slot.name != JobSlot.WORKER})
    cores = Counter(JobSlot.objects.filter(name="classify").values_list("host", flat=True))
    return {
        "services": [
            _build_health(service, found)
            for service, found in providers.load_health()
            if found.is_in_use
        ],
        "workers": [
            f"{host} ({cores[host]} {'process' if cores[host] == 1 else 'processes'} to classify)"
            for host in workers
        ],
        "chores": _summarize_chores(),
        "jobs": running,
        "publication_failures": list(published_heads.find_failing()),
        "is_head_published": bool(published_heads.list_targets()),
        "overdue": Number(
            "n-overdue", str(Delivery.objects.filter(due_at__lt=now - OVERDUE)[:LOOK_BACK].count())
        ),
        "given_up": Number("n-given-up", str(given_up.count())),
    }


def _summarize_chores() -> dict[str, Any] | None:
    """Return the last housekeeping run and the failing chores; None before the first run."""
    chores = list(Chore.objects.all())
    if not chores:
        return None
    ended = [chore.finished_at for chore in chores if chore.finished_at]
    return {
        "finished_at": max(ended, default=None),
        "failing": [chore.name for chore in chores if chore.error],
    }


def _build_health(service: providers.Service, found: providers.ServiceHealth) -> Health:
    if found.is_failing:
        return Health(
            label=service.label,
            status="failed",
            word="Failing",
            details=found.last_error,
            at=found.last_error_at,
        )
    if found.last_success_at:
        return Health(
            label=service.label, status="succeeded", word="Works", at=found.last_success_at
        )
    return Health(label=service.label, status="queued", word="Not called yet")


def _build_record_part() -> dict[str, Any]:
    head = ChainHead.objects.filter(pk=1).first()
    return {
        "record_length": Number("n-record", f"{head.sequence if head else 0:,}".replace(",", " ")),
        "verification": Verification.objects.find_newest(),
        "record_failures": list(published_heads.find_failing()),
        "record_notice": sealing.explain_state(head),
        "trace_excess": traces.find_excess(timezone.now() - timedelta(days=1)),
    }

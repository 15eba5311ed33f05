"""The conditions of alarms. Each yields what is wrong now, with what to do.

A message names no person, no prompt and no image: it leaves the house by mail. Every query is
bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone

from generation.core.outages import find_outage
from generation.models import GenerationRequest, JobSlot, ProviderState
from generation.services import storage_checks
from moderation.models import Alarm, Chore, Decision, Review, Verification
from moderation.service_names import name_service
from moderation.services import metrics, published_heads, traces
from moderation.services.backups.folder import BackupError, BackupFolder

Kind = Alarm.Kind
# A host without a worker for longer has probably been taken out of service.
REMOVED_AFTER: Final = timedelta(days=1)
ERROR_MAX: Final = 300
# The limits of views and exports count an hour too.
EXCESS_SHOWN: Final = timedelta(hours=1)
SNAPSHOT_NAME: Final = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that is met now."""

    kind: Alarm.Kind
    message: str
    subject: str = ""


def find_all() -> tuple[list[Finding], set[Alarm.Kind]]:
    """Return all findings, and the kinds whose check failed: nothing is known about them."""
    found: list[Finding] = []
    failed: set[Alarm.Kind] = set()
    for kind, check in CHECKS.items():
        try:
            found += check(timezone.now())
        except Exception as error:
            if find_outage(error) is not None:
                raise
            # One broken check must not silence the others.
            failed.add(kind)
            found.append(_describe_failure(kind, error))
    return found, failed


def _describe_failure(kind: Alarm.Kind, error: Exception) -> Finding:
    metrics.log.exception("The check of the alarm %s failed", kind)
    return Finding(
        kind,
        f"Loupe could not check “{kind.label}” ({type(error).__name__}). To do: read the log.",
    )


def _describe_wait(since: datetime, now: datetime) -> str:
    minutes = int((now - since).total_seconds() // 60)
    return f"{minutes} minutes" if minutes < 180 else f"{minutes // 60} hours"


def find_old_queue(now: datetime) -> Iterator[Finding]:
    limit = settings.ALARM_QUEUE_MINUTES
    oldest = metrics.find_oldest(Review.Status.PENDING)
    if limit and oldest and now - oldest > timedelta(minutes=limit):
        yield Finding(
            Kind.QUEUE,
            f"An image has waited for a moderator for {_describe_wait(oldest, now)}; the limit is"
            f" {limit} minutes (ALARM_QUEUE_MINUTES). To do: ask moderators to work on the queue.",
        )


def find_old_escalations(now: datetime) -> Iterator[Finding]:
    limit = settings.ALARM_ESCALATED_HOURS
    oldest = metrics.find_oldest(Review.Status.ESCALATED)
    if limit and oldest and now - oldest > timedelta(hours=limit):
        yield Finding(
            Kind.ESCALATED,
            "An escalated image, which may be a severe case, is not settled. It arrived"
            f" {_describe_wait(oldest, now)} ago; the limit is {limit} hours"
            " (ALARM_ESCALATED_HOURS). To do: ask a senior moderator to settle it, and to file"
            " what must be reported.",
        )


def find_overdue_work(now: datetime) -> Iterator[Finding]:
    limit = settings.ALARM_JOB_MINUTES
    if not limit:
        return
    due = {"requests": GenerationRequest.objects.all(), **metrics.list_due()}
    for queue, rows in due.items():
        late = rows.filter(due_at__lt=now - timedelta(minutes=limit)).order_by("due_at")
        first = late.values_list("due_at", flat=True).first()
        if first is not None:
            yield Finding(
                Kind.JOBS,
                f"Work in “{queue}” has been due for {_describe_wait(first, now)}. To do: check"
                " that workers run and have enough processes, then read the worker's log.",
                queue,
            )


def find_silent_workers(now: datetime) -> Iterator[Finding]:
    slots = JobSlot.objects.filter(name=JobSlot.WORKER)
    alive = {slot.host for slot in slots if slot.is_running(now)}
    for slot in slots:
        until = slot.running_until
        if slot.host not in alive and until and now - REMOVED_AFTER < until < now:
            yield Finding(
                Kind.WORKER,
                f"The worker on {slot.host} has been silent for"
                f" {_describe_wait(until - JobSlot.LEASE, now)}. To do: see whether the host and"
                " the worker's process run, and start the worker (manage.py qworker).",
                slot.host,
            )
    if not alive:
        yield Finding(
            Kind.WORKER,
            "No worker runs. Nothing is submitted, downloaded, classified or delivered. To do:"
            " start a worker (manage.py qworker).",
        )


def find_failing_services(now: datetime) -> Iterator[Finding]:
    for row in ProviderState.objects.order_by("slug"):
        error, success = row.last_error_at, row.last_success_at
        if error and (success is None or success < error) and now - error < REMOVED_AFTER:
            yield Finding(
                Kind.PROVIDER,
                f"Calls of {name_service(row.slug)} fail. Last error: {row.last_error[:ERROR_MAX]}"
                " To do: check its key on the page Providers, and the status page of the service.",
                row.slug,
            )


def find_high_spending(now: datetime) -> Iterator[Finding]:
    limit = settings.SPENDING_LIMIT_PER_DAY
    share = settings.ALARM_SPENDING_PERCENT
    if not limit or not share:
        return
    spent = metrics.read_spending_today()
    if spent >= float(limit) * share / 100:
        yield Finding(
            Kind.SPENDING,
            f"{spent:.2f} of {limit.normalize():f} USD are spent today (UTC). At the limit, no new"
            " request is submitted until midnight UTC. To do: see on the page Providers what"
            " spends it, and raise SPENDING_LIMIT_PER_DAY if that is right.",
        )


def find_storage_faults(now: datetime) -> Iterator[Finding]:
    if problems := storage_checks.find_problems(storage_checks.load_reports()):
        yield Finding(Kind.STORAGE, " ".join(problems))


def find_record_faults(now: datetime) -> Iterator[Finding]:
    newest = Verification.objects.find_newest()
    if newest is not None and newest.faults:
        yield Finding(
            Kind.FAULTS,
            f"The verification of {newest.created_at:%-d %B, %H:%M} UTC found {newest.faults}"
            f" fault{'' if newest.faults == 1 else 's'} in the record. To do: read them on the page"
            " Verification, keep a copy of the database, and see docs/auditing.md.",
        )


def find_unverified_record(now: datetime) -> Iterator[Finding]:
    days = settings.ALARM_VERIFICATION_DAYS
    if not days:
        return
    newest = Verification.objects.find_newest()
    since = newest.finished_at if newest else None
    if newest is None:
        since = Decision.objects.order_by("pk").values_list("created_at", flat=True).first()
    if since and now - since > timedelta(days=days):
        yield Finding(
            Kind.UNVERIFIED,
            f"The whole record was not verified for {days} days (ALARM_VERIFICATION_DAYS). To do:"
            " start a verification on the page Verification, or run manage.py verify_decisions.",
        )


def find_unpublished_heads(now: datetime) -> Iterator[Finding]:
    for row in published_heads.find_failing():
        yield Finding(
            Kind.HEADS,
            f"The head of the record could not be published: {row.error[:ERROR_MAX]} To"
            " do: check the place that the settings HEAD_PUBLISH_… name.",
            row.target,
        )


def find_failing_chores(now: datetime) -> Iterator[Finding]:
    if names := list(Chore.objects.exclude(error="").values_list("name", flat=True)):
        yield Finding(
            Kind.CHORES,
            f"Housekeeping failed: {', '.join(names)}. Old data stays until it succeeds. To do:"
            " read the worker's log.",
        )


def find_old_backup(now: datetime) -> Iterator[Finding]:
    root, hours = settings.ALARM_BACKUP_FOLDER, settings.ALARM_BACKUP_HOURS
    if root is None:
        return
    todo = "To do: run `loupe backup` and see why its timer did not."
    try:
        names = BackupFolder.open(root).list_snapshots()
    except BackupError as error:
        yield Finding(Kind.BACKUP, f"The folder of backups cannot be read: {error} {todo}")
        return
    newest = max((datetime.strptime(name, SNAPSHOT_NAME) for name in names), default=None)
    if newest is None or now - newest.replace(tzinfo=UTC) > timedelta(hours=hours):
        age = _describe_wait(newest.replace(tzinfo=UTC), now) if newest else ""
        state = f"The newest backup is {age} old" if age else "There is no backup"
        yield Finding(
            Kind.BACKUP, f"{state}; the limit is {hours} hours (ALARM_BACKUP_HOURS). {todo}"
        )


def find_reached_limits(now: datetime) -> Iterator[Finding]:
    count = len(traces.find_excess(now - EXCESS_SHOWN))
    if count:
        people = "1 person" if count == 1 else f"{count} people"
        yield Finding(
            Kind.LIMITS,
            f"In the last hour a limit of views or exports refused {people} something. To do: ask"
            " an auditor to see on the page Traces who it was and what they opened. Raise the"
            " limit that the page names if their work needs more.",
        )


CHECKS: Final[dict[Alarm.Kind, Callable[[datetime], Iterator[Finding]]]] = {
    Kind.QUEUE: find_old_queue,
    Kind.ESCALATED: find_old_escalations,
    Kind.JOBS: find_overdue_work,
    Kind.WORKER: find_silent_workers,
    Kind.PROVIDER: find_failing_services,
    Kind.SPENDING: find_high_spending,
    Kind.STORAGE: find_storage_faults,
    Kind.FAULTS: find_record_faults,
    Kind.UNVERIFIED: find_unverified_record,
    Kind.HEADS: find_unpublished_heads,
    Kind.CHORES: find_failing_chores,
    Kind.BACKUP: find_old_backup,
    Kind.LIMITS: find_reached_limits,
}

"""Delete data that only grows: expired sessions, log-in attempts, old API calls, stale files.

Four chores delete no row: one releases classifications that wait for no other one, one orders the
publication of the head of the chain, one erases vectors in this host's cache, one encrypts second
factors with the present key. Each chore works in batches to keep transactions short. History
stays: decisions, requests and their trace are never deleted here, and renditions only by retention
rules and erasures (``retention.py``), whose interrupted removals one chore finishes.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.db.models import F, QuerySet
from django.utils import timezone
from django_q.models import OrmQ
from django_q.models import Task as QueueTask

from generation.core.storage import sweep_temporary_files
from generation.models import ApiCall, ImagesOfDay, ImportRun, StorageReport
from generation.services import purging
from moderation.models import Chore, Exposure, PolicyTrial, PromptTrial
from moderation.search import likeness
from moderation.services import (
    classification,
    factor_secrets,
    originals,
    period_counts,
    published_heads,
    risk_stats,
    row_notes,
    storage_usage,
)
from moderation.services.alarms import checks

log = logging.getLogger("loupe.housekeeping")

INTERVAL = timedelta(hours=1)
# Time until a dead worker's chore is claimable again. Longer than a batch takes.
LEASE = timedelta(minutes=2)
BATCH = 500  # rows; SQLite accepts about 1,000 values in a statement

CALLS_KEPT = timedelta(days=30)
LOG_INS_KEPT = timedelta(days=30)
QUEUE_FAILURES_KEPT = timedelta(days=30)
MESSAGES_KEPT = timedelta(days=1)  # wake-ups only: due work is in other rows
EXPOSURE_KEPT = timedelta(days=30)  # people see only the current day
IMPORT_RUNS_KEPT = timedelta(days=90)
STORAGE_REPORTS_KEPT = timedelta(days=1)
UPLOADS_KEPT = timedelta(days=1)
TRIALS_KEPT = timedelta(days=90)
UNFINISHED = (PolicyTrial.Status.CANCELLED, PolicyTrial.Status.FAILED)


def _delete(rows: QuerySet[Any], limit: int) -> int:
    """Delete up to ``limit`` rows; return their number."""
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[:limit])
    rows.model._default_manager.filter(pk__in=pks).delete()
    return len(pks)


def delete_old_calls(limit: int) -> int:
    """Delete up to ``limit`` calls and day counts each, older than 30 days; return their number."""
    since = timezone.now() - CALLS_KEPT
    days = (
        ImagesOfDay.objects.filter(day__lt=since.date())
        .order_by("pk")
        .values_list("pk", flat=True)[:limit]
    )
    # Ordered by primary key: there is no index on the time alone.
    oldest = ApiCall.objects.order_by("pk").values_list("pk", "created_at")[:limit]
    calls = [pk for pk, created_at in oldest if created_at < since]
    counted, _ = ImagesOfDay.objects.filter(pk__in=list(days)).delete()
    deleted, _ = ApiCall.objects.filter(pk__in=calls).delete()
    return counted + deleted


def _delete_sessions(limit: int) -> int:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):  # an engine that does not use the database
        store.clear_expired()
        return 0
    return _delete(store.get_model_class().objects.filter(expire_date__lt=timezone.now()), limit)


def _delete_log_ins(limit: int) -> int:
    since = timezone.now() - LOG_INS_KEPT
    models = (AccessAttempt, AccessFailureLog, AccessLog)
    return sum(_delete(model.objects.filter(attempt_time__lt=since), limit) for model in models)


def _delete_queue_rows(limit: int) -> int:
    now = timezone.now()
    messages = _delete(OrmQ.objects.filter(lock__lt=now - MESSAGES_KEPT), limit)
    return messages + _delete(
        QueueTask.objects.filter(stopped__lt=now - QUEUE_FAILURES_KEPT), limit
    )


def _delete_exposure(limit: int) -> int:
    return _delete(Exposure.objects.filter(started_at__lt=timezone.now() - EXPOSURE_KEPT), limit)


def _delete_import_runs(limit: int) -> int:
    ended = ImportRun.objects.exclude(status=ImportRun.Status.RUNNING)
    return _delete(ended.filter(started_at__lt=timezone.now() - IMPORT_RUNS_KEPT), limit)


def _delete_storage_reports(limit: int) -> int:
    return _delete(
        StorageReport.objects.filter(seen_at__lt=timezone.now() - STORAGE_REPORTS_KEPT), limit
    )


def _release_stranded_classifications(limit: int) -> int:
    classification.release_stranded(limit=limit)
    return 0  # nothing is deleted


def _order_head_publication(limit: int) -> int:
    published_heads.order_if_scheduled()
    return 0  # nothing is deleted


def _note_rows(limit: int) -> int:
    row_notes.note_rows()
    return 0  # nothing is deleted


def _refresh_risk_reports(limit: int) -> int:
    # Windows move on with the days, even if nobody decides.
    risk_stats.refresh_reports()
    return risk_stats.delete_old_stats(limit)


def _sweep_temporary_files(limit: int) -> int:
    return sweep_temporary_files() + _sweep_uploads()


def _sweep_uploads() -> int:
    """Delete uploads and downloads of models that killed processes have left; return their number.

    Only files of this user, named as Django and Loupe name them.
    """
    folders = {Path(tempfile.gettempdir()): "*.upload*", settings.DATA_DIR / "models": "**/*.part"}
    limit, swept = time.time() - UPLOADS_KEPT.total_seconds(), 0
    for folder, pattern in folders.items():
        for path in folder.glob(pattern):
            with suppress(OSError):  # another process was quicker
                seen = path.lstat()
                if seen.st_uid == os.geteuid() and seen.st_mtime < limit and path.is_file():
                    path.unlink()
                    swept += 1
    return swept


def _delete_old_trials(limit: int) -> int:
    """Delete trials that were cancelled or failed, and that nobody has judged."""
    before = timezone.now() - TRIALS_KEPT
    policy = PolicyTrial.objects.filter(judgements__isnull=True)
    return sum(
        _delete(trials.filter(status__in=UNFINISHED, created_at__lt=before), limit)
        for trials in (policy, PromptTrial.objects.all())
    )


def _finish_removals(limit: int) -> int:
    """Delete the files of tombstones whose worker was killed."""
    return purging.finish(min(limit, 100))


def _erase_removed_vectors(limit: int) -> int:
    likeness.erase_removed()
    return 0  # no row is deleted


def _encrypt_factors(limit: int) -> int:
    factor_secrets.encrypt_stored()
    return 0  # nothing is deleted


CHORES: dict[str, Callable[[int], int]] = {
    "sessions": _delete_sessions,
    "log-in attempts": _delete_log_ins,
    "API calls": delete_old_calls,
    "queue messages": _delete_queue_rows,
    "exposure": _delete_exposure,
    "import runs": _delete_import_runs,
    "storage reports": _delete_storage_reports,
    "period counts": period_counts.delete_old_counts,
    "alarms": checks.delete_old,
    "temporary files": _sweep_temporary_files,
    "old trials": _delete_old_trials,
    "unfinished removals": _finish_removals,
    "vectors of removed images": _erase_removed_vectors,
    "held classifications": _release_stranded_classifications,
    "originals": originals.remove_due_originals,
    "risk stats": _refresh_risk_reports,
    "record notes": _note_rows,
    "second factors": _encrypt_factors,
    "head publication": _order_head_publication,
}


def add_chores() -> None:
    """Create missing rows of chores when a worker starts. A chore runs only if it has a row."""
    now = timezone.now()
    Chore.objects.bulk_create(
        [Chore(name=name, due_at=now) for name in CHORES], ignore_conflicts=True
    )
    storage_usage.add_scan()


def run_due_chores(*, go_on: Callable[[], bool]) -> None:
    """Claim and run due chores one after another."""
    while go_on():
        claimed = Chore.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        _run_chore(claimed[0], go_on)


def _run_chore(chore: Chore, go_on: Callable[[], bool]) -> None:
    delete = CHORES.get(chore.name)
    if delete is None:  # from an earlier version
        chore.delete()
        return
    held = Chore.objects.filter(pk=chore.pk, lease=chore.lease)
    try:
        while count := delete(BATCH):
            until = timezone.now() + LEASE
            if not held.update(deleted=F("deleted") + count, due_at=until):
                return  # another worker has taken it over
            if not go_on():
                held.update(due_at=timezone.now(), lease=None)
                return
    except Exception as error:
        log.exception("The chore %s failed", chore.name)
        held.update(
            due_at=timezone.now() + INTERVAL,
            error=f"It failed ({type(error).__name__}); see the worker's log.",
        )
        return
    now = timezone.now()
    held.update(due_at=now + INTERVAL, finished_at=now, error="")

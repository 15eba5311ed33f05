"""Space of the stored files: measured once a day in steps, and the forecast of a full disk.

A step reads one of 256 subfolders of a kind, so the scan of millions of files never blocks other
work, and goes on where a killed worker stopped. It also counts files without a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone

from generation import jobs
from generation.core.storage import FOLDERS, get_asset_storage
from generation.models import Asset, StorageReport
from moderation.models import StorageScan, StorageUsage

EVERY = timedelta(days=1)
LEASE = timedelta(minutes=5)  # longer than a step takes
KEPT = timedelta(days=400)
PARTS = 256
STEPS = len(FOLDERS) * PARTS
STEPS_KEPT = 16  # progress is stored after so many steps
# A file without a row is an orphan only after this time: its row may follow.
YOUNG = timedelta(hours=1)
FORECAST_DAYS = 14
_CHUNK = 500  # SQLite accepts about 1,000 values in a statement
Kind = StorageUsage.Kind


def add_scan() -> None:
    """Create the row of the scan when a worker starts."""
    StorageScan.objects.get_or_create(pk=1, defaults={"due_at": timezone.now()})


def order_scan() -> bool:
    """Start a scan now; return False if one is running."""
    rows = StorageScan.objects.filter(finished_at__isnull=False)
    if not rows.update(due_at=timezone.now()):
        return False
    jobs.wake("housekeeping")
    return True


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Continue the scan that is due, or start the next one."""
    for scan in StorageScan.objects.claim(limit=1, lease=LEASE) if go_on() else []:
        _run_scan(scan, go_on)


def _run_scan(scan: StorageScan, go_on: Callable[[], bool]) -> None:
    mine = StorageScan.objects.filter(pk=scan.pk, lease=scan.lease)
    if scan.finished_at is not None:
        scan.position, scan.counts, scan.started_at = 0, {}, timezone.now()
        mine.update(position=0, counts={}, started_at=scan.started_at, finished_at=None)
    try:
        while scan.position < STEPS:
            folder, part = FOLDERS[scan.position // PARTS], f"{scan.position % PARTS:02x}"
            _count_part(folder, part, scan.counts)
            scan.position += 1
            may_go_on = go_on()
            if scan.position % STEPS_KEPT == 0 or not may_go_on:
                due_at = timezone.now() + (LEASE if may_go_on else timedelta(0))
                kept = mine.update(position=scan.position, counts=scan.counts, due_at=due_at)
                if not kept or not may_go_on:
                    return
    except OSError as error:
        mine.update(
            due_at=timezone.now() + timedelta(minutes=10),
            error=f"The storage could not be read ({type(error).__name__}).",
        )
        return
    _store(scan.counts)
    now = timezone.now()
    mine.update(position=STEPS, finished_at=now, due_at=now + EVERY, lease=None, error="")


def _count_part(folder: str, part: str, counts: dict[str, Any]) -> None:
    """Add the files of one subfolder to the counts."""
    count = counts.setdefault(folder, {"files": 0, "bytes": 0, "orphans": 0})
    old: list[str] = []
    limit = timezone.now() - YOUNG
    for file in get_asset_storage().iter_files(f"{folder}/{part}"):
        count["files"] += 1
        count["bytes"] += file.size
        if file.modified_at < limit:
            old.append(file.name.rpartition("/")[2])
        if len(old) >= _CHUNK:
            count["orphans"] += _count_orphans(folder, old)
            old = []
    count["orphans"] += _count_orphans(folder, old)


def _count_orphans(folder: str, names: list[str]) -> int:
    """Return the number of files that no row needs."""
    if not names:
        return 0
    by_hash = {name: name.partition(".")[0] for name in names}
    column = "original_sha256" if folder in ("originals", "views") else "sha256"
    rows = Asset.objects.with_files().filter(**{f"{column}__in": set(by_hash.values())})
    if column == "original_sha256":
        rows = rows.with_original()
    known = set(rows.values_list(column, flat=True))
    return sum(digest not in known for digest in by_hash.values())


def _store(counts: dict[str, Any]) -> None:
    """Store the counts of a finished scan as those of this day, and forget very old ones."""
    today = timezone.now().date()
    found = dict(counts)
    found[Kind.DATABASE] = {"files": 1, "bytes": measure_database(), "orphans": 0}
    found[Kind.MODELS] = _measure_models()
    with transaction.atomic():
        for kind, count in found.items():
            StorageUsage.objects.update_or_create(day=today, kind=kind, defaults=count)
        StorageUsage.objects.filter(day__lt=today - KEPT).delete()


def measure_database() -> int:
    """Return the bytes of the database."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        else:
            cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


def _measure_models() -> dict[str, int]:
    files = [path for path in (settings.DATA_DIR / "models").rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files), "orphans": 0}


# --- Forecast ---
@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The growth of the files in bytes a day, and when the disk reaches its reserve."""

    per_day: float | None  # None: fewer than two days are measured
    free_bytes: int | None  # None: the storage has no limit, or no worker has reported
    reserve_bytes: int
    full_on: date | None


def forecast() -> Forecast:
    """Compute when the free space above the reserve is used up, by the growth of two weeks."""
    today = timezone.now().date()
    days = list(
        StorageUsage.objects.filter(
            day__gte=today - timedelta(days=FORECAST_DAYS), kind__in=FOLDERS
        )
        .values_list("day")
        .annotate(total=Sum("bytes"))
        .order_by("day")
    )
    free = (
        StorageReport.objects.seen_since(timezone.now() - timedelta(hours=1))
        .filter(free_bytes__isnull=False)
        .order_by("free_bytes")
        .values_list("free_bytes", flat=True)
        .first()
    )
    per_day = None
    if len(days) > 1:
        per_day = (days[-1][1] - days[0][1]) / (days[-1][0] - days[0][0]).days
    full_on = None
    if per_day and per_day > 0 and free is not None:
        left = max(0, free - settings.STORAGE_RESERVE) / per_day
        full_on = today + timedelta(days=int(left)) if left < 36_500 else None
    return Forecast(
        per_day=per_day, free_bytes=free, reserve_bytes=settings.STORAGE_RESERVE, full_on=full_on
    )

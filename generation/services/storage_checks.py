"""Checks of the image storage: free space, failed writes, one storage shared by all hosts.

A storage fault is not a fault of an image: no image is marked as failed because of it. Each host
stores its findings in a ``StorageReport``, so all processes know them. Messages in reports contain
no host and no path, because programs and ``/readyz`` show them. Pages for people add the host.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone

from generation.core.storage import (
    BucketError,
    BucketFault,
    StorageUnavailableError,
    get_asset_storage,
)
from generation.jobs import HOST
from generation.models import StorageReport

log = logging.getLogger("loupe.storage")

IDENTITY = "storage-id"  # file in the storage; hosts that read the same content share one storage
RETRY_AFTER = timedelta(seconds=30)
# Missing images may be on a host that reported within this time, so restarting its worker loses
# nothing.
SEEN_LATELY = timedelta(minutes=10)
# Below this share of the reserve nothing is stored, so that a database on the same disk can still
# be written.
FLOOR_SHARE = 8

MOUNTED = "the volume with DATA_DIR/assets is mounted"
SHARING = {
    False: "mount the same volume as DATA_DIR/assets on every host, or use a bucket",
    True: "give S3_BUCKET, S3_PREFIX and S3_ENDPOINT_URL the same values on every host",
}
GOES_ON = "Nothing is lost, and work resumes automatically within a minute after that."
CAUSES = {
    errno.ENOSPC: (
        "the disk is full",
        "make room on the disk that holds DATA_DIR/assets, or enlarge it",
    ),
    errno.EDQUOT: ("the disk quota is used up", "make room, or raise the quota of Loupe's user"),
    errno.EROFS: (
        "the file system is mounted read-only",
        "look for disk errors, then mount it for writing",
    ),
    errno.EACCES: (
        "Loupe's user may not write there",
        "give DATA_DIR/assets and all in it to Loupe's user",
    ),
    errno.EPERM: (
        "Loupe's user may not write there",
        "give DATA_DIR/assets and all in it to Loupe's user",
    ),
    errno.EIO: ("the disk reports an input/output error", "check the disk and the system's log"),
    errno.ENOENT: (
        "a folder of it is missing",
        "check that the volume with DATA_DIR/assets is mounted",
    ),
}
BUCKET_CAUSES = {
    BucketFault.UNREACHABLE: (
        "the object storage cannot be reached",
        "check the object storage, S3_ENDPOINT_URL and the network",
    ),
    BucketFault.BUSY: (
        "the object storage answers that it is unavailable",
        "check the object storage, or wait for its operator",
    ),
    BucketFault.REFUSED: (
        "the object storage refuses Loupe's access",
        "check S3_ACCESS_KEY_ID and its secret, the permissions of that key, and this host's clock",
    ),
    BucketFault.NO_CREDENTIALS: (
        "there are no credentials for the object storage",
        "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or give this host a role",
    ),
    BucketFault.NO_BUCKET: (
        "the bucket does not exist there",
        "check S3_BUCKET, S3_REGION and S3_ENDPOINT_URL",
    ),
    BucketFault.FULL: ("the object storage is full", "make room there, or raise the quota"),
    BucketFault.DAMAGED: (
        "the data was damaged on its way",
        "check the network between this host and the object storage",
    ),
    BucketFault.OTHER: (
        "the object storage does not accept the request",
        "read Loupe's log, and check the settings S3_*",
    ),
}


def explain_error(error: BaseException) -> str:
    """Return a message for people: why the storage failed, and what to do."""
    cause, advice = _find_cause(error)
    return f"Images cannot be stored: {cause}. To do: {advice}. {GOES_ON}"


def _find_cause(error: BaseException) -> tuple[str, str]:
    if isinstance(error, BucketError):
        return BUCKET_CAUSES[error.fault]
    number = error.errno if isinstance(error, OSError) else None
    known = CAUSES.get(number or 0)
    if known is None:
        name = errno.errorcode.get(number, "") if number else type(error).__name__
        known = (f"it failed with {name or number}", "check the storage that holds DATA_DIR/assets")
    return known


def _explain_low_space(free: int) -> str:
    return (
        f"Nothing new is generated: only {_format_mib(free)} are free where images are stored,"
        f" less than the reserve of {_format_mib(settings.STORAGE_RESERVE)} (STORAGE_RESERVE_MB)."
        f" To do: make room on the disk that holds DATA_DIR/assets, or enlarge it. {GOES_ON}"
    )


def _format_mib(size: int) -> str:
    return f"{size // 1024 // 1024:,} MiB".replace(",", " ")


# --- This host ---
def count_free_bytes() -> int | None:
    """Return the free space of the image storage in bytes; None without a known limit.

    Raises OSError.
    """
    return get_asset_storage().count_free_bytes()


def ensure_room(size: int) -> None:
    """Raise StorageUnavailableError if ``size`` more bytes would leave too little free space."""
    free = count_free_bytes()
    if free is not None and free - size < settings.STORAGE_RESERVE // FLOOR_SHARE:
        raise StorageUnavailableError(explain_error(OSError(errno.ENOSPC, "too little room")))


def record_failure(error: StorageUnavailableError) -> None:
    """Report a failed write of this host to all processes.

    Call it outside a transaction that is rolled back.
    """
    now = timezone.now()
    changes: dict[str, Any] = {"error": str(error), "failed_at": now, "seen_at": now}
    if StorageReport.objects.filter(host=HOST, failed_at__isnull=False).update(
        error=str(error), seen_at=now
    ):
        return
    StorageReport.objects.update_or_create(host=HOST, defaults=changes)
    log.error("%s", error)


def start_host() -> None:
    """Give the storage an identity if it has none. Called when a worker starts."""
    known = StorageReport.objects.filter(host=HOST).values_list("storage_id", flat=True).first()
    StorageReport.objects.filter(host=HOST).update(storage_id="", error="", failed_at=None)
    report = refresh_report()
    if known and report.storage_id and known != report.storage_id:
        log.warning(
            "This host's image storage has changed. Check that the right volume is mounted."
        )


def refresh_report() -> StorageReport:
    """Check this host's storage and save the result.

    A test write is made only while writing fails.
    """
    before = StorageReport.objects.filter(host=HOST).first() or StorageReport(host=HOST)
    now = timezone.now()
    found: dict[str, Any] = {"seen_at": now, "error": "", "failed_at": None}
    try:
        found["storage_id"] = _identify_storage(before.storage_id)
        if before.failed_at is not None:
            get_asset_storage().probe()
        ensure_room(0)
        found["free_bytes"] = free = count_free_bytes()
        if free is not None and free < settings.STORAGE_RESERVE:
            found["error"] = _explain_low_space(free)
    except StorageUnavailableError as error:
        found |= {"error": str(error), "failed_at": before.failed_at or now}
    except OSError as error:
        found |= {"error": explain_error(error), "failed_at": before.failed_at or now}
    report, _ = StorageReport.objects.update_or_create(host=HOST, defaults=found)
    _log_change(before, report)
    return report


def _log_change(before: StorageReport, report: StorageReport) -> None:
    was_bad, is_bad = bool(before.error), bool(report.error)
    if is_bad and (not was_bad or (before.failed_at is None) != (report.failed_at is None)):
        log.error("%s", report.error)
    elif was_bad and not is_bad:
        log.warning("Images can be stored again")


def _identify_storage(known: str) -> str:
    """Return the storage's identity; create it on first use.

    Raises StorageUnavailableError if the storage had an identity before and has lost it: it may
    be another volume.
    """
    if found := _read_identity():
        return found
    if known:
        place = "S3_BUCKET and S3_PREFIX are right" if get_asset_storage().is_shared else MOUNTED
        raise StorageUnavailableError(
            f"The image storage has lost its file {IDENTITY}, so it may be another one. To do:"
            f" check that {place}. If the storage is meant to be empty, restart the worker."
        )
    get_asset_storage().save(IDENTITY, ContentFile(uuid4().hex.encode()))
    return _read_identity()


def _read_identity() -> str:
    """Return the storage's identity; "" if it has none. Raises OSError."""
    try:
        with get_asset_storage().open(IDENTITY) as file:
            return bytes(file.read(32)).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def find_local_failure() -> str:
    """Return the reason why this host cannot store images; "" when it can.

    Checks again if it could not before.
    """
    report = StorageReport.objects.filter(host=HOST).first()
    try:
        ensure_room(0)
        if report is None or report.failed_at is None:
            return ""
    except (StorageUnavailableError, OSError):
        pass
    report = refresh_report()
    return report.error if report.failed_at is not None else ""


# --- All hosts ---
def load_reports() -> list[StorageReport]:
    """Return the recent reports of all hosts."""
    return list(StorageReport.objects.seen_since(timezone.now() - StorageReport.FRESH_FOR))


def explain_outage() -> str:
    """Return the reason to request no new images; "" when storage works.

    Cheap: one query and two system calls.
    """
    return _find_low_space() or _first_error(load_reports())


def _first_error(reports: Sequence[StorageReport]) -> str:
    """Return the most severe message: failed writes before low space."""
    failing = sorted(
        (report.failed_at is None, report.host, report.error) for report in reports if report.error
    )
    return failing[0][-1] if failing else ""


def _find_low_space() -> str:
    try:
        ensure_room(0)
        free = count_free_bytes()
    except StorageUnavailableError as error:
        return str(error)
    except OSError as error:
        return explain_error(error)
    return _explain_low_space(free) if free is not None and free < settings.STORAGE_RESERVE else ""


def find_problems(reports: Sequence[StorageReport]) -> list[str]:
    """Return the storage's problems as messages for people, with host names."""
    problems = [f"On {report.host}: {report.error}" for report in reports if report.error]
    if not problems and (error := _find_low_space()):
        problems.append(error)
    unshared = explain_unshared(reports)
    return [*problems, unshared] if unshared else problems


def explain_unshared(reports: Sequence[StorageReport]) -> str:
    """Return a message if hosts use different storages; "" when all share one."""
    groups = _group_by_storage(reports)
    if len(groups) < 2:
        return ""
    names = " and ".join(", ".join(hosts) for hosts in groups)
    advice = SHARING[get_asset_storage().is_shared]
    return (
        f"Hosts {names} do not share their image storage: an image that one has stored cannot be"
        f" classified or shown by the other. To do: {advice}, or run all of Loupe on one host."
    )


def describe_state() -> str:
    """Return "ok" or a message. Contains no host name, because the probes are public."""
    reports = load_reports()
    if error := _find_low_space() or _first_error(reports):
        return error
    count = len(_group_by_storage(reports))
    if count > 1:
        return (
            f"Hosts have {count} different image storages, where all need to share one. The page"
            " Today names them."
        )
    return "ok"


def explain_absence() -> str:
    """Return the reason why a stored file may be temporarily missing; "" if it is lost.

    Not for files that were never stored.
    """
    report = refresh_report()
    if report.failed_at is not None:
        return report.error
    lately = StorageReport.objects.seen_since(timezone.now() - SEEN_LATELY).exclude(host=HOST)
    others = lately.exclude(storage_id__in=["", report.storage_id]).values_list("host", flat=True)
    if not others:
        return ""
    hosts = ", ".join(sorted(others))
    return (
        f"The stored image is not on {HOST}. It waits for {hosts}, which use another image storage."
    )


def _group_by_storage(reports: Sequence[StorageReport]) -> list[list[str]]:
    """Group the hosts by storage.

    A host without a worker has no report; its identity is read from the storage.
    """
    hosts: dict[str, list[str]] = {}
    identities = {report.host: report.storage_id for report in reports}
    # Hosts with a bucket need no look: each probe of the web server would be a request to it.
    if identities and HOST not in identities and not get_asset_storage().is_shared:
        identities[HOST] = _read_identity_here()
    for host, storage_id in identities.items():
        if storage_id or host == HOST:
            hosts.setdefault(storage_id, []).append(host)
    return sorted(hosts.values())


def _read_identity_here() -> str:
    try:
        return _read_identity()
    except OSError:
        return ""

"""Restore a backup into an empty installation, and check all of it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from generation.core.storage import (
    FOLDERS,
    PURGES,
    BucketError,
    StorageUnavailableError,
    get_asset_storage,
)
from generation.models import Asset, GenerationRequest, JobSlot, RequestTransition
from generation.services import purging, storage_checks
from generation.services.file_checks import verify_files
from moderation.models import Chore
from moderation.services import retention
from moderation.services.backups import databases
from moderation.services.backups.folder import BackupError, BackupFolder, Index, hash_file
from moderation.services.verification import verify_record

RESTORED = (
    "The database was restored from a backup in which this request was not sent yet. It may have"
    " been sent since: look at the provider's list, then give it up or send it again."
)
AGAIN = "Then empty the database and the storage, and restore again."
Report = Callable[[str], None]
Status = GenerationRequest.Status


@dataclass(slots=True)
class Restored:
    """Result of a restore. With faults, it is not complete."""

    name: str = ""
    decisions: int = 0
    files: int = 0
    purged: int = 0
    unknown: int = 0  # requests that may have been sent since the snapshot
    faults: list[str] = field(default_factory=list)


def restore_backup(
    root: Path, *, name: str = "", purges: Path | None = None, report: Report
) -> Restored:
    """Fill an empty installation from a backup.

    Raises BackupError before anything is written, or when it cannot go on.

    ``name`` chooses a snapshot, the newest one by default. ``purges``: a further folder of purge
    lists, of the storage or PURGE_LIST of the lost installation, if it survived.
    """
    folder = BackupFolder.open(root)
    try:
        return _restore(folder, name, purges, report)
    except StorageUnavailableError as error:
        raise BackupError(f"{error} {AGAIN}") from error
    except BucketError as error:
        raise BackupError(f"{storage_checks.explain_error(error)} {AGAIN}") from error
    except OSError as error:
        raise BackupError(f"The restore stopped: {error}. {AGAIN}") from error


def _restore(folder: BackupFolder, name: str, purges: Path | None, report: Report) -> Restored:
    manifest, done = _choose(folder, name), Restored()
    done.name = manifest["name"]
    _check_target()
    _check_snapshot(folder, manifest)
    lists = [each for each in (folder.purges, purges) if each is not None]
    if purges is not None and not purges.is_dir():
        raise BackupError(f"{purges} is not a folder.")
    report(f"Database of {manifest['created_at']} …")
    database = manifest["database"]
    databases.load(folder.snapshots / done.name / database["file"], database["vendor"])
    call_command("migrate", interactive=False, verbosity=0)
    _calm_down(done)
    report("Removed images …")
    try:
        for each in lists:
            done.purged += retention.replay(purging.read_purge_list(each))
    except ValueError as error:
        raise BackupError(f"The purge list cannot be applied: {error}") from error
    report("Files …")
    _copy_files(folder, done)
    _copy_models(folder, done)
    report("Checks …")
    _verify(manifest, done)
    return done


# --- Before anything is written ---
def _choose(folder: BackupFolder, name: str) -> dict[str, Any]:
    names = folder.list_snapshots()
    if not names:
        raise BackupError(f"{folder.root} has no finished snapshot.")
    if name and name not in names:
        raise BackupError(f"There is no snapshot {name}. There are: {', '.join(names[-10:])}.")
    chosen = name or names[-1]
    return {**folder.read_manifest(chosen), "name": chosen}


def _check_target() -> None:
    if obstacle := databases.find_obstacle():
        raise BackupError(f"{obstacle} Restore into an empty installation. Nothing was changed.")
    files = get_asset_storage()
    for folder in (*FOLDERS, PURGES):
        if any(True for _ in files.iter_files(folder)):
            raise BackupError(
                f"The image storage is not empty: it has files in {folder}. Restore into an empty"
                " installation. Nothing was changed."
            )


def _check_snapshot(folder: BackupFolder, manifest: dict[str, Any]) -> None:
    database = manifest["database"]
    path = folder.snapshots / manifest["name"] / database["file"]
    if not path.is_file() or hash_file(path) != database["sha256"]:
        raise BackupError(f"{path} is missing or was altered: it does not match its manifest.")
    if database["vendor"] != connection.vendor:
        raise BackupError(
            f"The backup is of {database['vendor']}, and DATABASE_URL names {connection.vendor}."
        )
    # Made after a rollback: the version that made the backup worked with the newer migrations.
    rolled_back = manifest.get("migrations_of_newer_version", [])
    unknown = databases.list_unknown_migrations({*manifest["migrations"]} - {*rolled_back})
    if unknown:
        raise BackupError(
            f"The backup was made by a newer Loupe: {unknown[0]} is unknown. Install that version."
        )


# --- The database ---
def _calm_down(done: Restored) -> None:
    """Undo what must not go on as it was: sessions, messages, leases, and unsent requests.

    A request that waited in the snapshot may have been sent and billed since. A person decides.
    """
    Session.objects.all().delete()
    OrmQ.objects.all().delete()
    JobSlot.objects.all().delete()
    Chore.objects.update(lease=None, due_at=timezone.now())
    for request in GenerationRequest.objects.filter(status__in=[Status.QUEUED, Status.SUBMITTING]):
        before = request.status
        GenerationRequest.objects.filter(pk=request.pk).update(
            status=Status.UNKNOWN, reason="RESTORED", error=RESTORED, due_at=None, lease=None
        )
        RequestTransition.objects.create(
            request=request, old=before, new=Status.UNKNOWN, reason=RESTORED
        )
        done.unknown += 1


# --- Files ---
def _copy_files(folder: BackupFolder, done: Restored) -> None:
    index = Index(folder.root / "files.sha256").entries
    files = storages["assets"]
    for asset in Asset.objects.with_files().order_by("pk").iterator(500):
        for name in purging.list_stored_files(asset):
            entry, path = index.get(name), folder.files / name
            if name.startswith("blurred/") and entry is None:
                continue  # made on demand
            if entry is None or not path.is_file():
                done.faults.append(f"Not in the backup: {name}")
                continue
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != entry.sha256:
                done.faults.append(f"Altered in the backup: {name}")
                continue
            files.save(name, ContentFile(content))
            done.files += 1


def _copy_models(folder: BackupFolder, done: Restored) -> None:
    target = settings.DATA_DIR / "models"
    for name, entry in Index(folder.root / "models.sha256").entries.items():
        path = folder.models / name
        if not path.is_file() or hash_file(path) != entry.sha256:
            done.faults.append(f"Model altered or missing in the backup: {name}")
            continue
        if not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)


# --- Checks ---
def _verify(manifest: dict[str, Any], done: Restored) -> None:
    verification, faults = verify_record()
    done.decisions = verification.decisions
    done.faults += faults
    chain = manifest["chain"]
    if verification.decisions < chain["sequence"]:
        done.faults.append(
            f"The record has {verification.decisions} decisions, and the manifest names"
            f" {chain['sequence']}."
        )
    found = verify_files()
    done.faults += [f"Missing: {name}" for name in found.missing]
    done.faults += [f"Altered: {name}" for name in found.altered]
    done.faults += [f"Removed, but still there: {name}" for name in found.orphaned]

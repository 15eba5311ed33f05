"""Write a backup: the database first, the files that it names second."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import django
from django.conf import settings
from django.core.files.storage import storages
from django.db import connection

from generation.core.storage import PURGES, BucketError, get_asset_storage
from generation.models import Asset
from generation.services import purging, storage_checks
from moderation.services.backups import databases
from moderation.services.backups.folder import (
    BackupError,
    BackupFolder,
    Entry,
    Index,
    hash_file,
    sync_folder,
    write_file,
)

BATCH = 100
SECRET_WORDS = ("KEY", "SECRET", "PASSWORD", "TOKEN", "DSN", "CREDENTIAL")
Report = Callable[[str], None]


@dataclass(slots=True)
class Backup:
    """Result of a backup."""

    name: str = ""
    sequence: int = 0
    hash: str = ""
    files: int = 0
    copied: int = 0
    copied_bytes: int = 0
    removed: int = 0
    faults: list[str] = field(default_factory=list)


def create_backup(root: Path) -> Backup:
    """Write a snapshot of the database and all files that are new. Raises BackupError.

    Files that are missing or altered are faults of the result: the rest is backed up.
    """
    folder = BackupFolder.prepare(root)
    done = Backup()
    try:
        with folder.locked():
            _write(folder, done)
    except BucketError as error:
        cause = storage_checks.explain_error(error)
        raise BackupError(f"The bucket cannot be read. {cause} Then run it again.") from error
    except OSError as error:
        raise BackupError(f"{root} cannot be written: {error.strerror or error}.") from error
    return done


def _write(folder: BackupFolder, done: Backup) -> None:
    now = datetime.now(UTC)
    done.name = f"{now:%Y%m%dT%H%M%S.%fZ}"
    part = folder.snapshots / f".{done.name}"
    part.mkdir(parents=True)
    copied = databases.dump(part)
    done.sequence, done.hash = copied.sequence, copied.hash
    new_lists = _copy_purges(folder)
    _copy_files(folder, copied.last_asset, done)
    done.removed = _prune(folder, new_lists)
    _copy_models(folder, done)
    write_file(part / "settings.json", _dump(list_settings()))
    migrations = databases.list_applied_migrations()
    manifest = {
        "created_at": now.isoformat(),
        "database": {
            "vendor": connection.vendor,
            "file": copied.path.name,
            "size": copied.path.stat().st_size,
            "sha256": hash_file(copied.path),
        },
        "chain": {"sequence": copied.sequence, "hash": copied.hash},
        "settings": {"sha256": hash_file(part / "settings.json")},
        "last_asset": copied.last_asset,
        "files": done.files,
        "faults": done.faults[:100],
        "django": django.get_version(),
        "migrations": migrations,
        # After a rollback: this version works with them, and so may restore them.
        "migrations_of_newer_version": databases.list_unknown_migrations(migrations),
    }
    write_file(part / "manifest.json", _dump(manifest))
    os.replace(part, folder.snapshots / done.name)
    sync_folder(folder.snapshots)


def _dump(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


# --- Files ---
def _copy_files(folder: BackupFolder, last: int, done: Backup) -> None:
    """Copy the files of all images in the snapshot that the folder does not have yet."""
    index = Index(folder.root / "files.sha256")
    new: list[Entry] = []
    for asset in Asset.objects.with_files().filter(pk__lte=last).order_by("pk").iterator(BATCH):
        for name in purging.list_stored_files(asset):
            done.files += 1
            target = folder.files / name
            if name in index.entries and target.is_file():
                continue
            if (content := _read(asset, name, done)) is None:
                continue
            write_file(target, content)
            new.append(Entry(name, hashlib.sha256(content).hexdigest(), len(content)))
            done.copied, done.copied_bytes = done.copied + 1, done.copied_bytes + len(content)
            if len(new) >= BATCH:
                index.add(new)
                new = []
    index.add(new)


def _read(asset: Asset, name: str, done: Backup) -> bytes | None:
    """Return a file's content, or None if there is none to copy."""
    try:
        with storages["assets"].open(name) as file:
            content = bytes(file.read())
    except FileNotFoundError:
        is_made_on_demand = name.startswith("blurred/")
        # It may have been removed since the snapshot.
        if is_made_on_demand or not Asset.objects.with_files().filter(pk=asset.pk).exists():
            done.files -= 1
            return None
        done.faults.append(f"Missing: {name}")
        return None
    digest = hashlib.sha256(content).hexdigest()
    wanted = {
        str(asset.rendition.name): asset.sha256,
        str(asset.original.name): asset.original_sha256,
    }
    if not content or digest != wanted.get(name, digest):
        done.faults.append(f"Altered: {name}")
        return None
    return content


def _copy_purges(folder: BackupFolder) -> list[Path]:
    """Copy the lists of removed images; return those that are new."""
    folder.purges.mkdir(exist_ok=True)
    files = get_asset_storage()
    new = []
    for name in sorted(file.name for file in files.iter_files(PURGES)):
        target = folder.purges / PurePosixPath(name).name
        if not target.exists():
            with files.open(name) as file:
                write_file(target, bytes(file.read()))
            new.append(target)
    return new


def _prune(folder: BackupFolder, lists: list[Path]) -> int:
    """Delete the files of images that were removed, if no other image needs them."""
    removed = 0
    for path in lists:
        for entry in purging.read_lines(path):
            if "asset" not in entry:
                continue
            asset = Asset.objects.filter(uuid=entry["asset"]).first()
            for name in entry.get("files", ()):
                target = folder.files / name
                if asset is not None and not purging.is_needed(asset, name) and target.is_file():
                    target.unlink()
                    removed += 1
    return removed


def _copy_models(folder: BackupFolder, done: Backup) -> None:
    """Copy the models of classifiers that are new or have another size."""
    source = settings.DATA_DIR / "models"
    index = Index(folder.root / "models.sha256")
    new: list[Entry] = []
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        name = str(path.relative_to(source))
        if not path.is_file() or path.suffix == ".part":
            continue
        size = path.stat().st_size
        known = index.entries.get(name)
        if known and known.size == size and (folder.models / name).is_file():
            continue
        target = folder.models / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(path, part)
        new.append(Entry(name, hash_file(part), size))
        os.replace(part, target)
        done.copied, done.copied_bytes = done.copied + 1, done.copied_bytes + size
    index.add(new)


# --- Settings ---
def list_settings() -> dict[str, str]:
    """Return the settings that the environment gives, without secrets."""
    return dict(_iter_settings(os.environ))


def _iter_settings(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(settings.ENVIRONMENT_NAMES):
        value = given.get(name, "").strip()
        if not value:
            continue
        if any(word in name for word in SECRET_WORDS):
            yield name, "(a secret: set it again)"
        elif "://" in value:
            yield name, ",".join(map(_remove_credentials, value.split(",")))
        else:
            yield name, value


def _remove_credentials(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))

"""Copies of image files from the source of a move to its target, while Loupe runs.

Repeating it is safe: files that the target has are skipped. New files go to the target meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import PurePosixPath

from django.core.files.base import ContentFile

from generation.core.moving import MovingStorage
from generation.core.storage import FOLDERS, PURGES, AssetStorage, StoredFile
from generation.services.storage_checks import IDENTITY

THREADS = 8
BATCH = 64


class Outcome(Enum):
    COPIED = "copied"
    DAMAGED = "damaged"
    DELETED = "deleted"  # during the copy


class DifferentStorageError(Exception):
    """The target is the storage of another installation."""


@dataclass(slots=True)
class Progress:
    copied: int = 0
    present: int = 0  # in the target before
    bytes_copied: int = 0


def copy_identity(files: MovingStorage) -> None:
    """Give the target the identity of the source, so that hosts on both sides share a storage.

    Raises DifferentStorageError, OSError.
    """
    source, target = (_read_identity(side) for side in (files.source, files.target))
    if source and target and source != target:
        raise DifferentStorageError(
            f"The target has another {IDENTITY} than the source, so it holds the images of another"
            " installation. To do: choose an empty folder or another S3_PREFIX. If the target is"
            f" meant to be overwritten, delete its {IDENTITY} first."
        )
    if source and not target:
        files.target.save(IDENTITY, ContentFile(source.encode()))


def _read_identity(storage: AssetStorage) -> str:
    try:
        with storage.open(IDENTITY) as file:
            return bytes(file.read(32)).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def copy_files(files: MovingStorage, progress: Progress) -> Iterator[list[str]]:
    """Copy what the target lacks, in batches.

    Returns the names of the damaged files of each batch, which stay behind. Raises OSError if a
    storage fails.
    """
    lacking = _iter_lacking(files, progress)
    with ThreadPoolExecutor(THREADS) as threads:
        while batch := list(islice(lacking, BATCH)):
            damaged = []
            outcomes = list(threads.map(lambda file: _copy_file(files, file), batch))
            for file, outcome in zip(batch, outcomes, strict=True):
                if outcome is Outcome.COPIED:
                    progress.copied += 1
                    progress.bytes_copied += file.size
                elif outcome is Outcome.DAMAGED:
                    damaged.append(file.name)
            yield damaged


def _iter_lacking(files: MovingStorage, progress: Progress) -> Iterator[StoredFile]:
    for folder in (*FOLDERS, PURGES):
        for in_target, in_source in files.iter_pairs(folder):
            if in_source is None:
                continue
            if in_target is not None and in_target.size == in_source.size:
                progress.present += 1
            else:
                yield in_source


def _copy_file(files: MovingStorage, file: StoredFile) -> Outcome:
    try:
        with files.source.open(file.name) as opened:
            content = bytes(opened.read())
    except FileNotFoundError:
        return Outcome.DELETED
    if not _is_as_named(file.name, content):
        return Outcome.DAMAGED
    files.target.save(file.name, ContentFile(content))
    if not files.source.exists(file.name):
        # Deleted during the copy: the deletion starts with the source and must not be undone.
        files.target.delete(file.name)
        return Outcome.DELETED
    return Outcome.COPIED


def _is_as_named(name: str, content: bytes) -> bool:
    """Return whether a file that is named by its own SHA-256 has it."""
    if not name.startswith(("renditions/", "originals/")):
        return True
    return hashlib.sha256(content).hexdigest() == PurePosixPath(name).stem

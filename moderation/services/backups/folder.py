"""The folder of a backup: its layout, its hashes, and safe writing."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

FORMAT = 1
MARK = "loupe-backup.json"
_PIECE = 1024 * 1024


class BackupError(Exception):
    """A backup or restore that cannot go on. ``str(error)`` says why, and what to do."""


def hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, also after a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored file with its hash and size."""

    name: str
    sha256: str
    size: int


class Index:
    """A text file with a line for each stored file: hash, size, name. Only appended to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        text = path.read_text() if path.exists() else ""
        # A killed backup may have left a part of a line.
        for line in text.rpartition("\n")[0].splitlines():
            sha256, size, name = line.split(" ", 2)
            self.entries[name] = Entry(name, sha256, int(size))
        if text and not text.endswith("\n"):
            write_file(path, (text.rpartition("\n")[0] + "\n").encode())

    def add(self, entries: list[Entry]) -> None:
        """Append entries. Their files are synced already."""
        if not entries:
            return
        with self.path.open("a") as file:
            file.writelines(f"{entry.sha256} {entry.size} {entry.name}\n" for entry in entries)
            file.flush()
            os.fsync(file.fileno())
        self.entries |= {entry.name: entry for entry in entries}


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """A folder with backups."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def purges(self) -> Path:
        return self.root / "purges"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @classmethod
    def prepare(cls, root: Path) -> BackupFolder:
        """Return the folder for writing. Raises BackupError if it holds something else."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            mark = root / MARK
            if not mark.exists():
                if any(root.iterdir()):
                    raise BackupError(
                        f"{root} is not empty and holds no backup of Loupe. Name an empty folder."
                    )
                write_file(mark, json.dumps({"format": FORMAT}).encode())
        except OSError as error:
            raise BackupError(f"{root} cannot be written: {error.strerror}.") from error
        return cls.open(root)

    @classmethod
    def open(cls, root: Path) -> BackupFolder:
        """Return the folder for reading. Raises BackupError."""
        try:
            found = json.loads((root / MARK).read_text())["format"]
        except FileNotFoundError:
            raise BackupError(
                f"{root} holds no backup of Loupe: the file {MARK} is missing."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{root / MARK} cannot be read ({type(error).__name__}).") from error
        if found != FORMAT:
            raise BackupError(f"{root} has the format {found}, and this Loupe reads {FORMAT}.")
        return cls(root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Allow one backup at a time."""
        with (self.root / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(f"Another backup is writing to {self.root}.") from None
            for left in self.snapshots.glob(".*") if self.snapshots.is_dir() else ():
                shutil.rmtree(left)  # a snapshot that was not finished
            yield

    def list_snapshots(self) -> list[str]:
        """Return the names of finished snapshots, oldest first."""
        if not self.snapshots.is_dir():
            return []
        return sorted(
            path.name for path in self.snapshots.iterdir() if (path / "manifest.json").is_file()
        )

    def read_manifest(self, name: str) -> dict[str, Any]:
        """Return the manifest of a snapshot. Raises BackupError."""
        path = self.snapshots / name / "manifest.json"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise BackupError(f"{path} cannot be read ({type(error).__name__}).") from error
        if not isinstance(found, dict):
            raise BackupError(f"{path} is not a manifest.")
        return found

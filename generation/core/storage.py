"""File storage of images: named by content, written atomically, in a directory.

``bucket.py`` is the same for a bucket, ``moving.py`` for a move from one to the other.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.core.files.utils import validate_file_name

_TEMPORARY: Final = "tmp"
# Size of the test write to a failed disk. A few bytes might fit where no image does.
PROBE_BYTES: Final = 8 * 1024 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EXTENSIONS: Final = {"png": "png", "jpeg": "jpg", "jpg": "jpg", "webp": "webp"}
_ORIGINAL_EXTENSIONS: Final = {**_EXTENSIONS, "gif": "gif"}
PURGES: Final = "purges"  # folder of the lists of removed images
FOLDERS: Final = ("renditions", "thumbnails", "originals", "views", "blurred")


def asset_name(sha256: str, ext: str) -> str:
    """Return ``renditions/ab/<sha256>.<ext>``.

    ``ext`` may be an image type ("jpeg" is stored as jpg).
    """
    if ext not in _EXTENSIONS:
        raise ValueError(f"{ext!r} is not a type that Loupe stores.")
    return _name("renditions", sha256, _EXTENSIONS[ext])


def thumbnail_name(sha256: str) -> str:
    """Return ``thumbnails/ab/<sha256>.webp``, with the SHA-256 of the rendition."""
    return _name("thumbnails", sha256, "webp")


def blurred_name(sha256: str, ext: str) -> str:
    """Return ``blurred/ab/<sha256>.<ext>``, with the SHA-256 and the type of the rendition."""
    if ext not in _EXTENSIONS:
        raise ValueError(f"{ext!r} is not a type that Loupe stores.")
    return _name("blurred", sha256, _EXTENSIONS[ext])


def original_file_name(sha256: str, ext: str) -> str:
    """Return ``originals/ab/<sha256>.<ext>``."""
    if ext not in _ORIGINAL_EXTENSIONS:
        raise ValueError(f"{ext!r} is not a type of an original.")
    return _name("originals", sha256, _ORIGINAL_EXTENSIONS[ext])


def view_name(sha256: str, kind: str) -> str:
    """Return ``views/ab/<sha256>.<kind>.webp``, with the SHA-256 of the original."""
    return _name("views", sha256, f"{kind}.webp")


def purge_list_name(identifier: str) -> str:
    """Return ``purges/<identifier>.jsonl``; identifiers are UUIDs whose order is that of time."""
    return f"{PURGES}/{identifier}.jsonl"


def _name(folder: str, sha256: str, ext: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise ValueError("A file is named by the 64 lower-case hexadecimal digits of its SHA-256.")
    return f"{folder}/{sha256[:2]}/{sha256}.{ext}"


class StorageUnavailableError(Exception):
    """Files cannot be written or read now; ``str(error)`` says what to do.

    Says nothing about the image.
    """


class BucketFault(StrEnum):
    """Causes of a bucket that cannot be read or written."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    REFUSED = "refused"
    NO_CREDENTIALS = "no-credentials"
    NO_BUCKET = "no-bucket"
    FULL = "full"
    DAMAGED = "damaged"
    OTHER = "other"


class BucketError(OSError):
    """A bucket could not be read or written, which says nothing about the image."""

    def __init__(self, fault: BucketFault, detail: str) -> None:
        self.fault, self.detail = fault, detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file as the storage lists it."""

    name: str
    size: int
    modified_at: datetime


class AssetStorage(Storage):
    """An image storage: Django's interface, and methods for space, listing and probes.

    Faults are OSErrors, and a missing file is a FileNotFoundError.
    """

    # True: hosts with the same settings always have the same files.
    is_shared = False

    @abstractmethod
    def count_free_bytes(self) -> int | None:
        """Return the bytes that Loupe may still write; None without a known limit."""

    @abstractmethod
    def probe(self) -> None:
        """Make a test write. Raises OSError as a real write would."""

    @abstractmethod
    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Delete the remains of interrupted writes; return their number."""

    @abstractmethod
    def iter_files(self, folder: str) -> Iterator[StoredFile]:
        """List the files of a folder and of the folders in it, in the order of their names."""

    def sign_public_url(self, name: str, *, method: str, headers: dict[str, str]) -> str:
        """Return a URL that works without Loupe for a minute; "" if the storage has none.

        ``headers``: Response* parameters of S3's GetObject.
        """
        return ""

    def find_internal_path(self, name: str, *, headers: dict[str, str]) -> str:
        """Return the path at which nginx reads the file itself; "" if there is none."""
        return ""

    @abstractmethod
    def delete_unused(self, name: str, older_than_seconds: float) -> bool:
        """Delete a file that was last written this long ago; return whether it was deleted."""


def get_asset_storage() -> AssetStorage:
    return cast(AssetStorage, storages["assets"])


class DurableFileSystemStorage(FileSystemStorage, AssetStorage):
    """A storage in which the name determines the content, so existing files are kept.

    When ``save()`` returns, the file survives a power failure: content is synced first, then the
    name. A row that is committed after its file therefore never points to a missing file. A crash
    leaves only a temporary file, which ``sweep_temporary`` deletes.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name unchanged: the same name means the same content."""
        name = str(name).replace("\\", "/")
        validate_file_name(name, allow_relative_path=True)
        if max_length is not None and len(name) > max_length:
            raise SuspiciousFileOperation(f"The file name is longer than {max_length} characters.")
        return name

    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Delete files of interrupted writes; return their number."""
        swept = 0
        for path in self.list_temporary(older_than_seconds):
            with suppress(FileNotFoundError):  # another process deleted it
                path.unlink()
                swept += 1
        return swept

    def list_temporary(self, older_than_seconds: float) -> list[Path]:
        """Return the files of interrupted writes."""
        limit = time.time() - older_than_seconds
        folder = Path(self.location) / _TEMPORARY
        found = []
        for entry in folder.iterdir() if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # deleted, or the write was completed
                if entry.is_file() and entry.stat().st_mtime <= limit:
                    found.append(entry)
        return found

    def count_free_bytes(self) -> int:
        """Return the bytes that Loupe's user may still write here, ignoring quotas."""
        folder = Path(self.location)
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def probe(self) -> None:
        """Write and delete a file of 8 MiB."""
        self._write_temporary(ContentFile(bytes(PROBE_BYTES))).unlink()

    def iter_files(self, folder: str) -> Iterator[StoredFile]:
        root = Path(self.location)
        for path, folders, names in os.walk(root / folder):
            folders.sort()
            for name in sorted(names):
                file = Path(path) / name
                try:
                    found = file.stat()
                except FileNotFoundError:
                    continue  # deleted since the folder was read
                modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
                relative = file.relative_to(root).as_posix()
                yield StoredFile(name=relative, size=found.st_size, modified_at=modified_at)

    def find_internal_path(self, name: str, *, headers: dict[str, str]) -> str:
        return f"/internal/assets/{name}"

    def delete_unused(self, name: str, older_than_seconds: float) -> bool:
        """Delete a file that was last written this long ago; return whether it was deleted.

        A write of the same content at this moment is not lost: ``_save`` either marks the file
        before it is moved away, so it comes back, or finds no file and writes a new one.
        """
        path = Path(self.path(name))
        folder = Path(self.location) / _TEMPORARY
        self._make_folder(folder)
        aside = folder / f"{uuid4().hex}.part"
        limit = time.time() - older_than_seconds
        try:
            # First where it is: a process that is killed now must not leave a young file aside.
            if path.stat().st_mtime > limit:
                return False
            os.replace(path, aside)
        except FileNotFoundError:
            return False
        if aside.stat().st_mtime > limit:
            os.replace(aside, path)
            return False
        aside.unlink()
        return True

    def _save(self, name: str, content: File[bytes]) -> str:
        target = Path(self.path(name))
        self._make_folder(target.parent)
        if not self._keep_existing(target, content.size):
            os.replace(self._write_temporary(content), target)
        # Also for an existing file: its writer may have died between the rename and this line.
        _sync_folder(target.parent)
        return name

    def _keep_existing(self, target: Path, size: int) -> bool:
        """Return whether the file is there already; mark it as written now, for delete_unused.

        A different size means damage, because names determine contents.
        """
        try:
            if not target.is_file() or target.stat().st_size != size:
                return False
            os.utime(target)
        except FileNotFoundError:
            return False
        return True

    def _write_temporary(self, content: File[bytes]) -> Path:
        """Write the content to a new file on the same file system, sync it and return its path."""
        folder = Path(self.location) / _TEMPORARY
        self._make_folder(folder)
        path = folder / f"{uuid4().hex}.part"
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                if self.file_permissions_mode is not None:
                    os.fchmod(file.fileno(), self.file_permissions_mode)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and its parents durably, so that they survive a power failure."""
        missing: list[Path] = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            if self.directory_permissions_mode is not None:
                path.chmod(self.directory_permissions_mode)
            _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that new names in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporary_files() -> int:
    """Delete temporary files older than an hour from the asset storage; return their number."""
    return get_asset_storage().sweep_temporary(3600)

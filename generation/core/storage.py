"""Where renditions and thumbnails lie: named by their content, written so that a name never points
at half a file.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, storages
from django.core.files.utils import validate_file_name

_TEMPORARY: Final = "tmp"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EXTENSIONS: Final = {"png": "png", "jpeg": "jpg", "jpg": "jpg", "webp": "webp"}


def asset_name(sha256: str, ext: str) -> str:
    """Return ``renditions/ab/<sha256>.<ext>``; ``ext`` may be an image type ("jpeg" is stored as
    jpg).
    """
    if ext not in _EXTENSIONS:
        raise ValueError(f"{ext!r} is not a type that Loupe stores.")
    return _name("renditions", sha256, _EXTENSIONS[ext])


def thumbnail_name(sha256: str) -> str:
    """Return ``thumbnails/ab/<sha256>.webp``, named after the rendition it shows."""
    return _name("thumbnails", sha256, "webp")


def _name(folder: str, sha256: str, ext: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise ValueError("A file is named by the 64 lower-case hexadecimal digits of its SHA-256.")
    return f"{folder}/{sha256[:2]}/{sha256}.{ext}"


class StorageUnavailableError(Exception):
    """Files cannot be written or read now. Says nothing about the image; ``str(error)`` says what
    to do.
    """


class DurableFileSystemStorage(FileSystemStorage):
    """Files whose content follows from their name, so saving a name that exists keeps what is
    there.

    When ``save()`` returns, the file survives a power cut: content first, then the name. So a row
    committed after its file never points at nothing; what a crash leaves behind is a temporary
    file, for ``sweep_temporary``.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name itself: the same name means the same content, so there is never a
        suffix.
        """
        name = str(name).replace("\\", "/")
        validate_file_name(name, allow_relative_path=True)
        if max_length is not None and len(name) > max_length:
            raise SuspiciousFileOperation(f"The file name is longer than {max_length} characters.")
        return name

    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Delete what interrupted writes left behind; return how many files that were."""
        swept = 0
        limit = time.time() - older_than_seconds
        folder = Path(self.location) / _TEMPORARY
        for entry in folder.iterdir() if folder.is_dir() else ():
            try:
                if entry.is_file() and entry.stat().st_mtime <= limit:
                    entry.unlink()
                    swept += 1
            except FileNotFoundError:
                continue  # another sweeper was faster, or the write was finished
        return swept

    def count_free_bytes(self) -> int:
        """Return what Loupe's user may still write to the file system of this storage, quotas
        aside.
        """
        folder = Path(self.location)
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def probe(self, size: int) -> None:
        """Write and delete a file of ``size`` bytes. Raises OSError as a real write would."""
        self._write_temporary(ContentFile(bytes(size))).unlink()

    def _save(self, name: str, content: File[bytes]) -> str:
        target = Path(self.path(name))
        self._make_folder(target.parent)
        # A size that differs is damage (names follow from content), and a good copy is at hand.
        if not (target.is_file() and target.stat().st_size == content.size):
            os.replace(self._write_temporary(content), target)
        # Also for a file that was there: its writer may have died between the rename and this line.
        _sync_folder(target.parent)
        return name

    def _write_temporary(self, content: File[bytes]) -> Path:
        """Write the content to a new file on the same file system and bring it to the disk; return
        its path.
        """
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
        """Create a folder and its parents so that they, too, survive a power cut."""
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
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep_temporary_files() -> int:
    """Delete what killed writers left in the asset storage an hour ago or earlier; return how many
    files that were.
    """
    files = storages["assets"]
    return files.sweep_temporary(3600) if isinstance(files, DurableFileSystemStorage) else 0

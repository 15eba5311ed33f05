"""Files that are whole or absent: written aside, flushed to the disk, then renamed into place."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

TEMPORARY = ".part-"


def asset_name(sha256: str, image_type: str) -> str:
    return f"renditions/{sha256[:2]}/{sha256}.{'jpg' if image_type == 'jpeg' else image_type}"


def thumbnail_name(sha256: str) -> str:
    return f"thumbnails/{sha256[:2]}/{sha256}.webp"


class DurableFileSystemStorage(FileSystemStorage):
    """For content-addressed names: the same name is the same content, so an existing file is kept as it is."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        target = Path(self.path(name))
        if target.exists():
            return name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)
        return name

    def sweep_temporary(self, *, older_than_seconds: float = 3600) -> int:
        """Delete what a killed writer left behind; return how many files that were."""
        limit = time.time() - older_than_seconds
        stale = [path for path in Path(self.location).rglob(f"{TEMPORARY}*") if path.stat().st_mtime < limit]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)


def _sync_directory(path: Path) -> None:
    # The rename is durable only once the directory that records it is.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

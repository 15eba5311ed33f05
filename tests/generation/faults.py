"""Simulated faults: writes to a disk, and reads of the storage in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from generation.core.storage import get_asset_storage
from generation.models import JobSlot


@contextmanager
def failing_writes(number: int, *, after: int = 0) -> Iterator[None]:
    """Let every fsync of a file fail with this errno, except the first ``after`` ones."""
    real, left = os.fsync, after

    def fsync(descriptor: int) -> None:
        nonlocal left
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            return real(descriptor)
        if left <= 0:
            raise OSError(number, os.strerror(number))
        left -= 1
        return real(descriptor)

    with mock.patch.object(os, "fsync", fsync):
        yield


@contextmanager
def failing_reads(number: int, *, all_files: bool = True) -> Iterator[None]:
    """Let opening a stored file fail with this errno; with ``all_files=False`` only images."""
    used = type(get_asset_storage())
    real = used._open

    def _open(self: Any, name: str, mode: str = "rb") -> object:
        if all_files or "/" in name:
            raise OSError(number, os.strerror(number))
        return real(self, name, mode)

    with mock.patch.object(used, "_open", _open):
        yield


def end_pauses() -> None:
    """End the pause of every job slot after a fault."""
    JobSlot.objects.update(running_until=None)

"""Small disks of their own, for tests that fill one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mount_small_disk(folder: Path, *, mebibytes: int) -> Iterator[Path]:
    """Mount a tmpfs of this size at a new folder. Skip the test where that is not allowed."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mounting, capture_output=True, text=True, check=False)
        problem = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        problem = "mount is not installed"
    if problem:
        # Only root may mount, and many containers forbid it to root as well.
        pytest.skip(f"No small disk can be mounted here, which takes root: {problem}")
    try:
        yield folder
    finally:
        # Lazy: a program that was killed may still hold files.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

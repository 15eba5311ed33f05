"""Files in memory in which the processes of one web server count requests together.

``prepare`` runs before ``config.metrics`` is imported, which creates the counters.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from prometheus_client import values

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# On a full disk, writing to a mapped file would kill the process; memory has room for 2 MB each.
SHARED_MEMORY = "/dev/shm"


def prepare() -> None:
    """Choose the folder of this web server, and delete those of servers that have ended.

    A folder lives as long as the parent of the web processes: a process that is started again
    counts in a new file, and the file of the ended one still counts. After a restart of the server
    all counters begin at zero, as those of every program.
    """
    if not settings.METRICS_ENABLED:
        return
    folder = _make_base()
    for ended in _find_ended(folder):
        shutil.rmtree(ended, ignore_errors=True)
    own = folder / _name_process(os.getppid())
    own.mkdir(exist_ok=True)
    os.environ[VARIABLE] = str(own)
    # The client has chosen at its import, which may be long ago.
    values.ValueClass = values.MultiProcessValue()


def _make_base() -> Path:
    """Return a folder of this user and this installation. Raises OSError."""
    name = hashlib.sha256(str(settings.DATA_DIR).encode()).hexdigest()[:12]
    places = [SHARED_MEMORY] if os.access(SHARED_MEMORY, os.W_OK) else []
    folder = Path([*places, tempfile.gettempdir()][0]) / f"loupe-metrics-{os.getuid()}-{name}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise OSError(f"{folder} belongs to somebody else. Remove it to use METRICS_TOKEN.")
    return folder


def _find_ended(folder: Path) -> Iterator[Path]:
    for each in folder.iterdir():
        number = each.name.partition("-")[0]
        if number.isdigit() and each.name != _name_process(int(number)):
            yield each


def _name_process(number: int) -> str:
    """Return the number and the start time of a process; only the number if it has ended."""
    try:
        content = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return f"{number}"
    # The name of the program, in brackets, may contain blanks. Field 22 is the start time.
    return f"{number}-{content.rpartition(')')[2].split()[19]}"

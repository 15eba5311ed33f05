"""No orphans: a process that ends when its parent does, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
CRASHED = 70
# Loaded here because between fork and exec nothing should be loaded any more.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send ``number`` to this process when ``parent`` is gone. Call it first thing
    after the fork.
    """
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(CRASHED)


def watch_parent(parent: int) -> None:
    """Do by a thread what ``die_with_parent`` cannot on systems other than Linux."""
    if _libc is None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(CRASHED)

"""Processes that end with their parent, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
CRASHED = 70  # exit code
# Loaded here because nothing should be loaded between fork and exec.
_libc = ctypes.CDLL(None)


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send ``number`` to this process when its parent ends, however it ends.

    Call it first thing after the fork.
    """
    _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(CRASHED)

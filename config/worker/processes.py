"""Processes that end with their parent, and programs that are stopped together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

PR_SET_PDEATHSIG = 1
Program = subprocess.Popen[bytes]
CRASHED = 70  # exit code
POLL_EVERY = 0.1  # seconds
# Loaded here because nothing should be loaded between fork and exec.
_libc = ctypes.CDLL(None)


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send ``number`` to this process when its parent ends, however it ends.

    Call it first thing after the fork.
    """
    _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(CRASHED)


def start_program(command: Sequence[str]) -> Program:
    """Start a program in a session of its own, which ends with this process.

    Only its main process is asked to stop: django-q2 does not survive a signal to all at once.
    """
    # The hook makes two system calls: safe between fork and exec while this process has no threads.
    hook = partial(die_with_parent, os.getpid(), signal.SIGTERM)
    return subprocess.Popen(command, start_new_session=True, preexec_fn=hook)


def kill_session(program: Program) -> None:
    """Kill everything that the program has started, and the program."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()


def stop_all(programs: Sequence[Program], *, grace: float) -> None:
    """Terminate the programs, wait until the deadline, then kill."""
    for program in programs:
        program.terminate()  # does nothing to one that has ended
    wait_until(lambda: all(program.poll() is not None for program in programs), grace)
    for program in programs:
        kill_session(program)


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Poll until ``done`` is true; return False at the deadline."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_EVERY)
    return True

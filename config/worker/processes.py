"""Processes that end with their parent, and programs that are stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from generation.core.parent_death import die_with_parent

Program = subprocess.Popen[bytes]
POLL_EVERY = 0.1  # seconds


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

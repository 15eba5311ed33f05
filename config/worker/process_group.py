"""A few programs that live and die together, each in a session of its own: only its main process is
asked to stop.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from config.worker.parent_death import die_with_parent

POLL_EVERY = 0.1


class Member:
    """One program and everything it starts."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.command = command
        self.started_at = time.monotonic()
        # The hook only makes two system calls: safe between fork and exec, as long as this process
        # has no threads.
        self.process: subprocess.Popen[Any] = subprocess.Popen(
            command,
            env=dict(env),
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
        )

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    def ask_to_stop(self) -> None:
        """TERM to the main process alone: django-q2 and others do not survive one to every process
        at once.
        """
        if self.exit_code is None:
            self.process.terminate()

    def kill_group(self) -> None:
        """End whatever is left of the session, its main process included."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def stop_all(members: Sequence[Member], *, grace: float) -> None:
    """Ask, wait until the deadline, then kill."""
    for member in members:
        member.ask_to_stop()
    wait_until(lambda: all(member.exit_code is not None for member in members), seconds=grace)
    for member in members:
        member.kill_group()


def wait_until(done: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_EVERY)
    return True

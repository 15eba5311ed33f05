"""django-q2's cluster, made crash-only.

django-q2 replaces a killed child and continues. The dead child may have held a lock of the shared
queue: then nothing runs any more, and everything looks healthy. Here the death of a child by a
signal ends the whole process tree with exit code 70, and the supervisor starts it again. Stopping
has a deadline. Written for django-q2 1.11.1.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Mapping
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

from django_q.cluster import Sentinel
from django_q.conf import Conf

from generation import jobs
from generation.core.parent_death import CRASHED, die_with_parent
from generation.jobs import Pool

log = logging.getLogger("loupe.worker")

FORK = multiprocessing.get_context("fork")
WATCH_EVERY = 0.25  # seconds, like all below
SILENT_AFTER = 30.0
# A worker at its time limit still hands its result over; killing it earlier breaks the queue.
TIMEOUT_PATIENCE = 10.0


class StopFlag:
    """A request to stop, and the heartbeat of the sentinel that waits for it.

    Stands in for ``multiprocessing.Event``, whose lock a killed process keeps for ever.
    """

    def __init__(self) -> None:
        self._shared = FORK.RawArray("d", (0.0, time.monotonic()))

    def set(self) -> None:
        self._shared[0] = 1.0

    def is_set(self) -> bool:
        return bool(self._shared[0])

    def wait(self, seconds: float) -> bool:
        self._shared[1] = time.monotonic()
        time.sleep(seconds)
        return self.is_set()

    def seconds_since_wait(self) -> float:
        return time.monotonic() - float(self._shared[1])


class CrashOnlySentinel(Sentinel):
    """The process that starts workers, monitor and pusher, and exits when one of them is killed."""

    def reincarnate(self, process: Any) -> None:
        """Replace a process that ended by itself; exit if it was killed or cannot be stopped.

        Needed by test_a_killed_process_ends_the_whole_tree and
        test_a_job_that_cannot_be_interrupted_ends_the_whole_tree.
        """
        if process.is_alive():  # a worker at its time limit
            process.join(TIMEOUT_PATIENCE)
        if process.exitcode is None or process.exitcode < 0:
            ended = "cannot be stopped" if process.exitcode is None else "was killed by a signal"
            log.critical("The worker ends because process %s %s", process.pid, ended)
            os._exit(CRASHED)  # the children die with it
        super().reincarnate(process)


def _run_sentinel(parent: int, stop: StopFlag, pool: Pool, processes: int) -> None:
    """Run the sentinel of a pool until it is stopped."""
    _kill_forks_with_parent(parent)
    jobs.stop_when(stop.is_set)
    try:
        Conf.WORKERS = processes  # of this forked process alone
        broker = jobs.find_broker(pool)
        sentinel = CrashOnlySentinel(stop, StopFlag(), uuid.uuid4(), broker=broker, start=False)
        # After a TERM to the whole process group, the main process alone decides.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sentinel.start()
    except Exception:
        log.exception("The sentinel failed")
        os._exit(CRASHED)


def _kill_forks_with_parent(parent: int) -> None:
    """Let the kernel kill this process, and every process forked from it, with its parent."""
    die_with_parent(parent, signal.SIGKILL)
    forking = {"pid": parent}
    os.register_at_fork(
        before=lambda: forking.update(pid=os.getpid()),
        after_in_child=lambda: die_with_parent(forking["pid"], signal.SIGKILL),
    )


class Cluster:
    """The main process: starts a sentinel for each pool, and waits for an end or a signal."""

    def __init__(self, *, grace: float) -> None:
        self.grace = grace
        self.stop_wanted = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)

    def start(self, pools: Mapping[Pool, int]) -> None:
        """Fork the sentinels. Close database connections before, and start threads after."""
        self.stops = [StopFlag() for _ in pools]
        self.sentinels = [
            FORK.Process(target=_run_sentinel, args=(os.getpid(), stop, pool, processes))
            for stop, (pool, processes) in zip(self.stops, pools.items(), strict=True)
        ]
        for sentinel in self.sentinels:
            sentinel.start()

    def wait(self) -> int:
        """Return the exit code: 0 after an orderly stop, else 70. No process is left then."""
        try:
            return self._watch()
        finally:
            for sentinel in self.sentinels:
                sentinel.kill()  # its children die with it
                sentinel.join()

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        # Only this: the interrupted code may hold any lock.
        self.stop_wanted = True

    def _watch(self) -> int:
        deadline = None
        while running := [each for each in self.sentinels if each.exitcode is None]:
            wait([each.sentinel for each in running], timeout=WATCH_EVERY)
            if any(each.exitcode for each in self.sentinels):
                return CRASHED
            if deadline is None and self.stop_wanted:
                for stop in self.stops:
                    stop.set()
                deadline = time.monotonic() + self.grace
            elif deadline is not None and time.monotonic() > deadline:
                log.warning("Killed what still ran after %.0f s; it runs again later", self.grace)
                return CRASHED
            elif deadline is None and self._is_broken():
                return CRASHED
        return 0 if self.stop_wanted else CRASHED

    def _is_broken(self) -> bool:
        """Return whether a sentinel has ended without being told, or does nothing any more."""
        if any(stop.seconds_since_wait() > SILENT_AFTER for stop in self.stops):
            log.critical("The sentinel has been silent for %.0f s", SILENT_AFTER)
            return True
        return any(each.exitcode is not None for each in self.sentinels)

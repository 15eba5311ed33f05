"""django-q2's cluster, made crash-only.

django-q2 replaces a killed child and goes on, but the dead child may have held a lock of the shared
queue, and then nothing runs any more while everything looks healthy. Here a child that dies by a
signal, a task that cannot be stopped, or a queue that stands still ends the whole tree with exit
code 70, and whoever started it starts it afresh. No orphan survives its parent, and stopping has a
deadline. Written against django-q2 1.11.1, whose internals it overrides.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import time
import uuid
from collections.abc import Callable
from multiprocessing.connection import wait
from types import FrameType
from typing import Any, NoReturn

from django_q.cluster import Sentinel
from django_q.conf import Conf
from django_q.scheduler import scheduler
from django_q.status import Stat
from django_q.worker import worker

from config.worker.parent_death import CRASHED, die_with_parent, watch_parent
from generation import jobs

log = logging.getLogger("loupe.engine")

FORK = multiprocessing.get_context("fork")
WATCH_EVERY = 0.25
STALLED_AFTER = 30.0
SILENT_AFTER = 60.0
SCHEDULE_EVERY = 30.0
# After its time limit a worker still hands over its result; ending it earlier would tear the queue.
TIMEOUT_PATIENCE = 10.0
LOCK_PATIENCE = 5.0


class Flag:
    """An event in one shared byte. It has no lock that a killed process could keep, and nobody
    sleeps on it.
    """

    def __init__(self) -> None:
        self._byte = FORK.RawValue(ctypes.c_byte, 0)

    def is_set(self) -> bool:
        return bool(self._byte.value)

    def set(self) -> None:
        self._byte.value = 1


class CrashOnlySentinel(Sentinel):  # type: ignore[misc]  # django-q2 has no types
    """The process that starts workers, monitor and pusher, and ends everything when one of them is
    killed.
    """

    def __init__(self, stop: Flag, started: Flag, heartbeat: Any) -> None:
        self.heartbeat = heartbeat
        self.stalled_since: dict[str, float] = {}
        self.scheduled_at = time.monotonic()
        super().__init__(stop, started, uuid.uuid4())

    def start(self) -> None:
        # A TERM to the whole process group must not tear the tree apart: only the main process
        # decides.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.event_out = Flag()
        super().start()

    def spawn_process(self, target: Callable[..., Any], *args: Any) -> Any:
        process: Any = FORK.Process(target=_child, args=(os.getpid(), target, *args))
        process.daemon = True
        if target == worker:
            process.daemon = Conf.DAEMONIZE_WORKERS
            process.timer = args[2]
            self.pool.append(process)
        process.start()
        return process

    def guard(self) -> None:
        self.start_event.set()
        before = time.monotonic()
        while not self.stop_event.is_set():
            wait([process.sentinel for process in self._children()], timeout=Conf.GUARD_CYCLE)
            now = time.monotonic()
            self.heartbeat.value = now
            for process in list(self.pool):
                self._check_worker(process, now - before)
            for process in (self.monitor, self.pusher):
                if not self._is_alive(process):
                    self.reincarnate(process)
            self._check_queues(now)
            if Conf.SCHEDULER and now - self.scheduled_at >= SCHEDULE_EVERY:
                self.scheduled_at = now
                scheduler(broker=self.broker)
            Stat(self).save()
            before = now
        self.stop()

    def crash(self, reason: str) -> NoReturn:
        log.critical("The worker ends because %s", reason)
        self.kill_children()
        os._exit(CRASHED)

    def kill_children(self) -> None:
        for process in self._children():
            if process.pid and process.exitcode is None:
                process.kill()

    def _children(self) -> list[Any]:
        return [
            process for process in (*self.pool, self.monitor, self.pusher) if process is not None
        ]

    def _is_alive(self, process: Any) -> bool:
        """False after an orderly end, such as a worker's recycling; a death by signal is the end of
        everything.
        """
        if process.exitcode is not None and process.exitcode < 0:
            self.crash(f"process {process.pid} was killed by signal {-process.exitcode}")
        return process.exitcode is None

    def _check_worker(self, process: Any, elapsed: float) -> None:
        if not self._is_alive(process):
            self.reincarnate(process)
        elif self._count_down(process, elapsed) == 0:
            # Its time is up. Python code has been interrupted and the process is ending; other code
            # holds on to it.
            process.join(TIMEOUT_PATIENCE)
            if self._is_alive(process):
                self.crash(f"process {process.pid} cannot be stopped after its time limit")
            self.reincarnate(process)

    def _count_down(self, process: Any, elapsed: float) -> float:
        """Take the time off a busy worker's timer and return what is left; negative values mean it
        is idle.
        """
        lock = process.timer.get_lock()
        if not lock.acquire(timeout=LOCK_PATIENCE):
            self.crash(f"process {process.pid} keeps its timer locked")
        try:
            timer = process.timer.get_obj()
            if timer.value > 0:
                timer.value = max(0.0, timer.value - elapsed)
            return float(timer.value)
        finally:
            lock.release()

    def _check_queues(self, now: float) -> None:
        """A message that waits beside an idle worker, or results that nobody collects, mean a
        broken queue.
        """
        idle = any(process.timer.get_obj().value == -1 for process in self.pool)
        standing = {
            "task": idle and not self.task_queue.empty(),
            "result": not self.result_queue.empty(),
        }
        for name, stands in standing.items():
            since = (
                self.stalled_since.setdefault(name, now)
                if stands
                else self.stalled_since.pop(name, now)
            )
            if stands and now - since > STALLED_AFTER:
                self.crash(f"the {name} queue has not moved for {STALLED_AFTER:.0f} seconds")


def _child(parent: int, target: Callable[..., Any], *args: Any) -> None:
    die_with_parent(parent, signal.SIGKILL)
    watch_parent(parent)
    target(*args)


def _run_sentinel(parent: int, stop: Flag, started: Flag, heartbeat: Any) -> None:
    """Run the sentinel and leave with its real exit code, past multiprocessing's own clean-up,
    which waits for ever.
    """
    die_with_parent(parent, signal.SIGKILL)
    watch_parent(parent)
    jobs.stop_when(stop.is_set)
    code = CRASHED
    try:
        CrashOnlySentinel(stop, started, heartbeat).kill_children()
        code = 0
    except BaseException:
        log.exception("The sentinel failed")
    finally:
        os._exit(code)


class Cluster:
    """The main process: starts the sentinel, waits for it or for a signal, and reports how it
    ended.
    """

    def __init__(self, *, grace: float) -> None:
        self.grace = grace
        self.stop_wanted = False
        self.stop, self.started = Flag(), Flag()
        self.heartbeat = FORK.RawValue(ctypes.c_double, time.monotonic())
        self.sentinel = FORK.Process(
            target=_run_sentinel, args=(os.getpid(), self.stop, self.started, self.heartbeat)
        )

    def start(self) -> None:
        """Fork the sentinel. Close database connections first, and start threads after it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        self.sentinel.start()

    def wait(self) -> int:
        """Return the exit code: 0 after an orderly stop, else 70. Afterwards nothing of the tree is
        left.
        """
        try:
            return self._watch()
        finally:
            self.sentinel.kill()  # its children die with it
            self.sentinel.join()

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        # Nothing else here: whatever a handler calls may be what the interrupted code was just
        # doing.
        self.stop_wanted = True

    def _watch(self) -> int:
        deadline = None
        while not wait([self.sentinel.sentinel], timeout=WATCH_EVERY):
            now = time.monotonic()
            if self.stop_wanted and deadline is None:
                self.stop.set()
                deadline = now + self.grace
            if deadline is not None and now > deadline:
                log.warning(
                    "What still ran after %.0f seconds was killed; its rows become due again",
                    self.grace,
                )
                return CRASHED
            if deadline is None and now - self.heartbeat.value > SILENT_AFTER:
                log.critical("The sentinel has been silent for %.0f seconds", SILENT_AFTER)
                return CRASHED
        self.sentinel.join()
        return 0 if self.stop_wanted and self.sentinel.exitcode == 0 else CRASHED

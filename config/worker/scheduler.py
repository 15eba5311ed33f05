"""The scheduler: every second, wakes the jobs that have due rows and no message on its way."""

from __future__ import annotations

import logging
import threading
import time

from django.db import close_old_connections, connections

from generation import jobs
from generation.services import storage_checks

log = logging.getLogger("loupe.worker")

INTERVAL = 1.0
HEARTBEAT_EVERY = 10.0
REPEAT_ERROR_AFTER = 60.0


class Scheduler(threading.Thread):
    """A thread of the worker's main process with its own database connection. No error ends it."""

    def __init__(self) -> None:
        super().__init__(name="scheduler", daemon=True)
        self._stopped = threading.Event()
        self._quiet_until = self._beats_at = 0.0
        self._heartbeat = jobs.Heartbeat()
        self._unshared = ""

    def run(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self._tick()
        connections.close_all()

    def stop(self) -> None:
        self._stopped.set()
        self.join(2)

    def _tick(self) -> None:
        now = time.monotonic()
        try:
            close_old_connections()
            jobs.tick()
            if now >= self._beats_at:
                self._heartbeat.send_heartbeat()
                self._check_storage()
                self._beats_at = now + HEARTBEAT_EVERY
        except Exception:
            if now >= self._quiet_until:  # a database may be away for hours
                self._quiet_until = now + REPEAT_ERROR_AFTER
                log.exception("The tick failed; the next one tries again")
            connections.close_all()

    def _check_storage(self) -> None:
        storage_checks.refresh_report()
        unshared = storage_checks.explain_unshared(storage_checks.load_reports())
        if unshared and unshared != self._unshared:
            log.error("%s", unshared)
        self._unshared = unshared

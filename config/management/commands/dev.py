from __future__ import annotations

import http.client
import os
import signal
import sys
import time
from contextlib import closing, suppress
from io import StringIO
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from config import web_server
from config.worker import processes
from generation.core.backoff import Backoff
from moderation import demo
from moderation.models import ChainHead, chain
from moderation.services import sealing

HOST = "127.0.0.1"
GRACE = 5.0
READY_WITHIN = 180.0  # seconds; a slow machine under load needs more than a minute
RESTART_BACKOFF = Backoff(base=1, cap=30)
# A worker that ran at least this long was healthy, so its next restart is immediate.
HEALTHY_AFTER = 60.0


class Command(BaseCommand):
    help = "Run web server and worker together, for development: `make run`. Ctrl-C stops both."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError(
                "This command is for development and needs DEBUG=1. In production run them"
                " separately."
            )
        self.signals: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        refuse_taken_port()
        self._fill_database()
        os.environ["PORT"] = str(settings.PORT)
        # One process: all threads share the sandbox's clock and SQLite's page cache. Requests
        # mostly wait for the database or the sandbox's latency, so a few threads suffice.
        os.environ["WEB_PROCESSES"] = "1"
        sys.exit(self._serve())

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the terminal may be closed, and stopping must continue
            self.stdout.write(text)
            self.stdout.flush()

    def _fill_database(self) -> None:
        self._say("Bringing the database up to date …")
        call_command("migrate", interactive=False, verbosity=0)
        if not self.signals and not get_user_model()._default_manager.exists():
            self._say("Filling the empty database with a demo …")
            call_command("demo", days=settings.DEMO_DAYS, stdout=StringIO())
        # Here no process of an earlier version can be left.
        if settings.RECORD_KEY and not ChainHead.objects.filter(version=chain.SIGNED).exists():
            sealing.seal()
        connections.close_all()

    def _serve(self) -> int:
        """Run both until the web server ends or a signal arrives; return the exit code."""
        if self.signals:
            return 0
        self._say("Starting the web server …")
        web = processes.start_program(web_command())
        programs = [web]
        try:
            if not processes.wait_until(lambda: self._is_over(web) or is_answering(), READY_WITHIN):
                self.stderr.write(f"The web server did not answer in {READY_WITHIN:.0f} seconds.")
                return 1
            # Started second, because the sandbox, which the worker calls, runs in the web server.
            self._keep_worker_running(programs)
            if self.signals:
                self._say("\nStopping …")
                return 0
            self.stderr.write(
                f"The web server stopped unexpectedly (exit code {web.poll()}). Everything stops."
            )
            return 1
        finally:
            processes.stop_all(programs, grace=GRACE + 1)

    def _is_over(self, web: processes.Program) -> bool:
        return bool(self.signals) or web.poll() is not None

    def _keep_worker_running(self, programs: list[processes.Program]) -> None:
        """Restart the worker when it ends, with growing delays, as long as the web server runs."""
        web, restarts = programs[0], 0
        while not self._is_over(web):
            started_at = time.monotonic()
            worker = processes.start_program(worker_command())
            programs[1:] = [worker]
            if not restarts:
                self._say(make_welcome())
            while worker.poll() is None and not self._is_over(web):
                time.sleep(0.25)
            if self._is_over(web):
                return
            processes.kill_session(worker)
            if time.monotonic() - started_at > HEALTHY_AFTER:
                restarts = 0
            pause = RESTART_BACKOFF.delay(restarts).total_seconds()
            self._say(f"The worker ended (exit code {worker.poll()}); restart in {pause:.0f} s.")
            processes.wait_until(lambda: self._is_over(web), pause)
            restarts += 1


def make_welcome() -> str:
    """Return the URL, and the demo's log-ins if their password is still that of the settings."""
    people = get_user_model()._default_manager.filter(username=demo.PEOPLE[0].username)
    known = any(person.check_password(settings.DEMO_PASSWORD) for person in people)
    connections.close_all()
    log_ins = f"\n{demo.describe_accounts(settings.DEMO_PASSWORD)}\n" if known else ""
    return f"\nLoupe runs at http://{HOST}:{settings.PORT}/ (Ctrl-C stops it)\n{log_ins}"


def web_command() -> list[str]:
    options = f"--host {HOST} --drain 0 --grace {GRACE:.0f} --log-level error"
    return [*manage_command("web"), *options.split()]


def manage_command(name: str) -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), name]


def worker_command() -> list[str]:
    return [*manage_command("qworker"), "--grace", str(GRACE)]


def refuse_taken_port() -> None:
    if problem := web_server.find_port_problem(HOST, settings.PORT):
        raise CommandError(
            f"Port {settings.PORT} cannot be used: {problem}. Stop what uses it, or choose another"
            f" one: make run PORT={settings.PORT + 1}"
        )


def is_answering() -> bool:
    """Return whether /healthz answers, under a host name that ALLOWED_HOSTS always contains."""
    with closing(http.client.HTTPConnection(HOST, settings.PORT, timeout=2)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

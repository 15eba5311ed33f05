from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from io import StringIO
from types import FrameType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from config.worker.process_group import Member, stop_all, wait_until
from generation.core.backoff import Backoff
from moderation import demo

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
        refuse_taken_port(settings.PORT)
        self._fill_database()
        code = self._serve()
        sys.exit(code)

    def _is_told_to_stop(self) -> bool:
        return bool(self.signals)

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the terminal may be closed, and stopping must continue
            self.stdout.write(text)
            self.stdout.flush()

    def _fill_database(self) -> None:
        self._say("Bringing the database up to date …")
        call_command("migrate", interactive=False, verbosity=0)
        if not self._is_told_to_stop() and not get_user_model()._default_manager.exists():
            self._say("Filling the empty database with a demo …")
            call_command("demo", stdout=StringIO())
        connections.close_all()

    def _serve(self) -> int:
        if self._is_told_to_stop():
            return 0
        env = {**os.environ, "PORT": str(settings.PORT)}
        members: list[Member] = []
        try:
            self._say("Starting the web server …")
            web = Member(web_command(settings.PORT), env)
            members.append(web)
            wait_until(
                lambda: self._is_over(web) or is_answering(settings.PORT), seconds=READY_WITHIN
            )
            if not self._is_over(web) and not is_answering(settings.PORT):
                self.stderr.write(
                    f"The web server did not answer within {READY_WITHIN:.0f} seconds."
                )
                return 1
            # Started second, because the sandbox, which the worker calls, runs in the web server.
            if not self._is_over(web):
                self._say("Starting the worker …")
                members.append(Member(worker_command(), env))
                self._say(make_welcome())
                self._look_after(members, env)
            return 0 if self._is_told_to_stop() else self._report_end(web)
        finally:
            if self._is_told_to_stop():
                self._say("\nStopping …")
            stop_all(members, grace=GRACE + 1)

    def _is_over(self, web: Member) -> bool:
        return self._is_told_to_stop() or web.exit_code is not None

    def _report_end(self, web: Member) -> int:
        self.stderr.write(
            f"The web server ended by itself (exit code {web.exit_code}), so everything stops."
        )
        return 1

    def _look_after(self, members: list[Member], env: dict[str, str]) -> None:
        """Restart the worker when it ends, with growing delays.

        Returns when the web server ends or a signal arrives.
        """
        web, worker = members
        restarts = 0
        while not self._is_over(web):
            if worker.exit_code is None:
                time.sleep(0.25)
                continue
            worker.kill_group()
            if time.monotonic() - worker.started_at > HEALTHY_AFTER:
                restarts = 0
            pause = RESTART_BACKOFF.delay(restarts).total_seconds()
            self._say(
                f"The worker ended (exit code {worker.exit_code}) and is started again in"
                f" {pause:.0f} s."
            )
            if not wait_until(lambda: self._is_over(web), seconds=pause):
                worker = members[1] = Member(worker_command(), env)
                restarts += 1


def make_welcome() -> str:
    """Return the URL, and the demo's log-ins if their password is still that of the settings."""
    people = get_user_model()._default_manager.filter(username=demo.PEOPLE[0].username)
    known = any(person.check_password(settings.DEMO_PASSWORD) for person in people)
    connections.close_all()
    log_ins = f"\n{demo.describe_accounts(settings.DEMO_PASSWORD)}\n" if known else ""
    return f"\nLoupe runs at http://{HOST}:{settings.PORT}/ (Ctrl-C stops it)\n{log_ins}"


def web_command(port: int) -> list[str]:
    # One process: all threads share the sandbox's clock and SQLite's page cache. Requests mostly
    # wait for the database or the sandbox's latency, so a few threads suffice.
    server = [sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1"]
    server += ["--host", HOST, "--port", str(port)]
    sizes = ["--workers", "1", "--blocking-threads", "8", "--workers-kill-timeout", str(int(GRACE))]
    return [*server, *sizes, "--log-level", "error", "config.wsgi:application"]


def worker_command() -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), "qworker", "--grace", str(GRACE)]


def refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} cannot be used: {error.strerror}. "
                f"Stop what uses it, or choose another one: make run PORT={port + 1}"
            ) from None


def is_answering(port: int) -> bool:
    """Return whether /healthz answers, under a host name that ALLOWED_HOSTS always contains."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""A web server and a worker that are killed and started again, and their memory and files."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import linear_regression
from typing import Any

from bench.people import PASSWORD
from tests.deploy.servers import ROOT, Loupe, Postgres, Redis, Worker, is_listening, wait_until

PEOPLE = ("ada", "ben", "cleo")
MAKE_PEOPLE = """
from django.contrib.auth.models import Group, User
for name in {names!r}:
    user = User.objects.create_user(name, password={password!r})
    user.groups.add(Group.objects.get(name="moderator"))
"""
# With their weights: after a kill of the web server, people log in again before they decide.
KILLS = {"web": 1, "worker": 2, "process of web": 1, "process of worker": 2}
FLUSH = """
from generation.jobs import Pool, find_broker
for pool in Pool:
    find_broker(pool).purge_queue()
"""
# Two messages for each job at once, past the check that one is on its way.
DOUBLE = """
from django_q.tasks import async_task
from generation import jobs
jobs.discover()
for job in list(jobs.REGISTRY.values()) * 2:
    async_task(job.path, task_name=job.name, broker=jobs.find_broker(job.pool))
"""
STOP_SECONDS = 90.0  # as long as the units of systemd wait


class SoakedLoupe(Loupe):
    """Loupe with the sandbox as its provider."""

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PUBLIC_URL": f"http://127.0.0.1:{self.port}"}


def _restart(server: Postgres | Redis) -> None:
    """Kill a server and start it again. PostgreSQL refuses while an old process of it lives."""
    assert server.process is not None
    family = list_family(server.process.pid)
    server.stop()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), server.name)
    server.start()


def list_family(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    family = [pid]
    for member in family:  # grows in the loop
        for path in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):
                family += map(int, path.read_text().split())
    return family


class Installation:
    """The servers. ``samples`` are (seconds, MiB, files) of each process."""

    def __init__(self, postgres: Postgres | None = None, redis: Redis | None = None) -> None:
        more = {"DATABASE_URL": postgres.url} if postgres else {}
        more |= {"REDIS_URL": redis.url} if redis else {}
        self.web = SoakedLoupe(
            SANDBOX="1", SANDBOX_LATENCY="0.5", CLASSIFIERS="sandbox", WEB_DRAIN_SECONDS="0", **more
        )
        self.worker = Worker(self.web)
        self.kills = dict.fromkeys(KILLS, 0)
        self.disturbances: dict[str, Callable[[], object]] = {
            "queue flushed": lambda: self.web.manage("shell", "-c", FLUSH),
            "messages doubled": lambda: self.web.manage("shell", "-c", DOUBLE),
            "deploy": self._deploy,
        }
        for server in filter(None, (postgres, redis)):
            self.disturbances[f"{server.name} killed"] = partial(_restart, server)
        self.checks = {"ended": 0, "cut off": 0}
        self.last_check = ""
        self.violations: list[str] = []
        self.disturbed = dict.fromkeys(self.disturbances, 0)
        self.samples: dict[tuple[str, int], list[tuple[float, float, int]]] = {}
        self.web.manage("shell", "-c", MAKE_PEOPLE.format(names=PEOPLE, password=PASSWORD))
        limits = ("--images-per-day", "1000000", "--calls-per-minute", "100000")
        self.key = self.web.manage("create_api_key", "soak", "--scope", "generate", *limits)

    def __enter__(self) -> Installation:
        self.web.start()
        self.worker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.worker.__exit__()
        self.web.__exit__()

    def kill(self, kind: str, chance: random.Random) -> None:
        """Kill a server or one of its processes with SIGKILL; start again what was started here."""
        server = self.web if "web" in kind else self.worker
        assert server.process is not None
        if kind.startswith("process"):
            family = list_family(server.process.pid)[1:]
            if family:
                self.kills[kind] += 1
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(family), signal.SIGKILL)
            return
        self.kills[kind] += 1
        self._kill_server(server)
        server.start()

    def _kill_server(self, server: Loupe | Worker) -> None:
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        if server is self.web:
            # Its processes notice the death of their parent and leave the port.
            with suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)
            wait_until(lambda: not is_listening(self.web.port), "the port is free")

    def disturb(self, kind: str) -> None:
        self.disturbances[kind]()
        self.disturbed[kind] += 1

    def _deploy(self) -> None:
        """End web server and worker by SIGTERM, and start both again."""
        servers = (self.web, self.worker)
        for server in servers:
            assert server.process is not None
            server.process.terminate()
        for server in servers:
            assert server.process is not None
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(STOP_SECONDS)
            self._kill_server(server)
            server.start()

    def revive(self) -> list[str]:
        """Start what has ended by itself; return its names."""
        ended = []
        for server in (self.web, self.worker):
            if server.process is None or server.process.poll() is not None:
                ended.append(server.name)
                server.start()
        return ended

    def sample(self, seconds: float) -> None:
        """Note the memory and the open files of every process."""
        for server in (self.web, self.worker):
            assert server.process is not None
            for pid in list_family(server.process.pid):
                with suppress(OSError, StopIteration):
                    status = Path(f"/proc/{pid}/status").read_text().splitlines()
                    rss = next(line for line in status if line.startswith("VmRSS:"))
                    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                    samples = self.samples.setdefault((server.name, pid), [])
                    samples.append((seconds, int(rss.split()[1]) / 1024, files))

    def measure_growth(self, *, lived: float, warm_up: float) -> list[dict[str, Any]]:
        """Return the growth of the processes that lived long enough, without their warm-up."""
        rows = []
        for (name, pid), samples in sorted(self.samples.items()):
            start = samples[0][0] + warm_up
            kept = [sample for sample in samples if sample[0] >= start]
            if len(kept) < 3 or kept[-1][0] - kept[0][0] < lived:
                continue
            seconds, memory, files = zip(*kept, strict=True)
            slope = linear_regression(seconds, memory).slope * 3600
            rows.append(
                {
                    "process": f"{name} {pid}",
                    "seconds": round(seconds[-1] - seconds[0]),
                    "MiB": [round(memory[0], 1), round(memory[-1], 1)],
                    "MiB per hour": round(slope, 1),
                    "files": [files[0], max(files), files[-1]],
                }
            )
        return rows

    def watch_invariants(self, stop: threading.Event, *, every: float) -> None:
        """Check the invariants again and again, while servers are killed."""
        while not stop.wait(every):
            self.check_invariants()

    def check_invariants(self) -> None:
        """Note the violations that two checks in a row find.

        A check reads row after row while others write, so a single one can find half a change.
        """
        found = self._find_violations()
        if found:
            again = self._find_violations()
            self.violations += [message for message in found if message in again]

    def _find_violations(self) -> list[str]:
        command = [sys.executable, "manage.py", "check_invariants"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.web.environment(), capture_output=True, text=True
        )
        found = re.findall(r"^(?:CommandError: )?(I\d+: .*)$", done.stderr, re.MULTILINE)
        is_cut = done.returncode != 0 and not found  # its database was killed
        self.checks["cut off" if is_cut else "ended"] += 1
        self.last_check = done.stdout.strip() or done.stderr.strip()  # "20 invariants hold."
        return found

    def read_books(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.soak.books"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.web.environment(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        books: dict[str, Any] = json.loads(done.stdout)
        return books

    def count_tracebacks(self) -> dict[str, int]:
        """Return how often each last line of a traceback is in the logs."""
        counts: dict[str, int] = {}
        for server in (self.web, self.worker):
            is_open = False
            for line in server.log.read_text(errors="replace").splitlines():
                if line.startswith("Traceback"):
                    is_open = True
                elif is_open and line and not line.startswith((" ", "\t")):
                    is_open = False
                    last = f"{server.name}: {line[:120]}"
                    counts[last] = counts.get(last, 0) + 1
        return counts

    def wait_until_quiet(self, seconds: float) -> tuple[float, dict[str, Any]]:
        """Wait until no request is open and no image is being classified."""
        started = time.monotonic()
        while True:
            books = self.read_books()
            waited = time.monotonic() - started
            if waited > seconds or not (books["open"] or books["classifying"]):
                return waited, books
            time.sleep(2)

"""Loupe as `make run` starts it: web server, worker, sandbox, demo.

All tests of this folder share one stack.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.missing import skip_unless_required
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "only-for-this-test"
PATIENCE = 300.0  # seconds; reached on failure only, other tests may keep the machine busy
NODE_CLIENTS = ROOT / "tests" / "clients"
LAST = {"test_clients", "test_examples"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that add requests and decisions last.

    The other tests count the requests and decisions of the demo.
    """
    here = [index for index, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    ordered = sorted((items[index] for index in here), key=lambda item: item.path.stem in LAST)
    for index, item in zip(here, ordered, strict=True):
        items[index] = item


@dataclass
class Stack:
    url: str
    data: Path
    process: subprocess.Popen[str]
    env: dict[str, str]

    def api_key(self, name: str, *scopes: str) -> str:
        """Create an API key with the management command and return it."""
        wanted = [word for scope in scopes for word in ("--scope", scope)]
        command = [sys.executable, "manage.py", "create_api_key", name, *wanted]
        done = subprocess.run(
            command, cwd=ROOT, env=self.env, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Query the database directly, without Loupe's code."""
        connection = sqlite3.connect(
            f"file:{self.data / 'db.sqlite3'}?mode=ro", uri=True, timeout=20
        )
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def count(self, query: str) -> int:
        return int(self.rows(query)[0][0])

    def wait_for(self, condition: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            code = self.process.poll()
            assert code is None, (
                f"Loupe ended with {code} while waiting for {what}:\n{self.last_words()}"
            )
            assert time.monotonic() < deadline, (
                f"waited {PATIENCE:.0f} s in vain for {what}:\n{self.last_words()}"
            )
            time.sleep(0.2)

    def last_words(self) -> str:
        """Return the last 40 lines of the log for a failure message."""
        return "\n".join((self.data / "log").read_text().splitlines()[-40:])

    @staticmethod
    def alive(family: dict[int, str]) -> list[str]:
        return [command for pid, command in family.items() if Path(f"/proc/{pid}").exists()]

    def family(self) -> dict[int, str]:
        """Return pid → command line of every living descendant of `manage.py dev`."""
        parents, found = {}, {self.process.pid: ""}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_text()
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = (int(parent), command.replace("\0", " "))
        grown = True
        while grown:
            grown = False
            for pid, (parent, command) in parents.items():
                if parent in found and pid not in found:
                    found[pid], grown = command, True
        found.pop(self.process.pid)
        return found


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("stack")
    port = free_port()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
    }
    env = {
        **kept,
        "DATA_DIR": str(data),
        "PORT": str(port),
        "DEMO_PASSWORD": PASSWORD,
        "DEMO_DAYS": "0",
        "SANDBOX_LATENCY": "0.5",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    subprocess.run([sys.executable, "-m", "config.bootstrap"], cwd=ROOT, env=env, check=True)
    log = (data / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "dev"],
        cwd=ROOT,
        env=env,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Stack(f"http://127.0.0.1:{port}", data, process, env)
    try:
        running.wait_for(
            lambda: "Loupe runs at" in (data / "log").read_text(),
            what="the first start",
        )
        yield running
        family = running.family()
        process.send_signal(signal.SIGINT)
        process.wait(120)
        deadline = time.monotonic() + 60
        while (left := running.alive(family)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, f"still running after Ctrl-C: {left}"
    finally:
        process.kill()
        log.close()


@pytest.fixture(scope="session")
def node_path() -> str:
    """Return the path of Node; skip without it or its clients, or fail if REQUIRE_NODE=1."""
    path = shutil.which("node")
    if path and (NODE_CLIENTS / "node_modules" / "novita-sdk").is_dir():
        return path
    missing = "the packages of tests/clients are not installed" if path else "Node is not installed"
    skip_unless_required(missing, "REQUIRE_NODE")

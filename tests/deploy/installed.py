"""Loupe's wheel in an empty environment, and hosts that run it as docs/operations.md says."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.servers import (
    ROOT,
    Server,
    documented_arguments,
    documented_command,
    wait_until,
)
from tests.missing import skip_unless_required
from tests.ports import free_port

REQUIREMENTS = ROOT / "requirements-production.txt"
# Environments of earlier runs, by the hash of their requirements.
KEPT = ROOT / "var" / "environments"
PASSWORD = "correct horse battery staple"


def build_wheel(folder: Path, source: Path = ROOT) -> Path:
    """Build the wheel as `make wheel` does, with the packages of this environment."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def make_environment(wheel: Path) -> Path:
    """Return an environment with the requirements for production, this wheel and nothing else.

    Test processes share it, one after the other makes sure that it is complete.
    """
    environment = KEPT / hash_file(REQUIREMENTS)[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / "complete").is_file():
            shutil.rmtree(environment, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
            install(environment, "--require-hashes", "-r", str(REQUIREMENTS))
            (environment / "complete").touch()
        stamp = environment / "wheel.sha256"
        if not stamp.is_file() or stamp.read_text() != hash_file(wheel):
            install(environment, "--no-index", "--no-deps", "--force-reinstall", str(wheel))
            stamp.write_text(hash_file(wheel))
    return environment


def make_next_environment(environment: Path, wheel: Path, folder: Path) -> Path:
    """Return an environment with another wheel and the packages of the first environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (packages,) = environment.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n")
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--python", str(folder / "bin/python")]
    options = ["--quiet", "--no-index", "--no-deps", "--ignore-installed"]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True, capture_output=True)
    return folder


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(environment: Path, *arguments: str) -> None:
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    fault = done.stderr[-500:].strip()
    skip_unless_required(
        f"the packages of production are not installed: {fault}", "REQUIRE_SERVERS"
    )


class Host:
    """One host: an environment, a settings file, a data folder, a web server and a worker.

    Its programs get the path of the settings file and nothing else from their environment.
    """

    def __init__(self, environment: Path, *, name: str = "", **values: str) -> None:
        self.bin, self.name = environment / "bin", name
        self.folder = Path(tempfile.mkdtemp(prefix="loupe-host-"))
        self.port = free_port()
        self.settings = self.folder / "settings.env"
        self.stack = ExitStack()
        given = {
            "PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "DATABASE_URL": "",
            **values,
        }
        assignments = [f"{name}={value}" for name, value in given.items()]
        self.settings.touch()
        self.settings.write_text(self.loupe("make_settings", *assignments))

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "SETTINGS_FILE": str(self.settings),
            # All hosts have the same settings file. These two make one machine look like several.
            "DATA_DIR": str(self.folder / "data"),
            "HOST_NAME": self.name,
        }

    def loupe(self, *arguments: str, fails: bool = False) -> str:
        """Run the installed command outside of the checkout, and return its output."""
        done = subprocess.run(
            [str(self.bin / "loupe"), *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def browse(self, url: str, **options: Any) -> Person:
        """Return a person who is logged in nowhere, with a client that this host closes."""
        http = httpx.Client(base_url=url, timeout=60, follow_redirects=True, **options)
        return Person(self.stack.enter_context(http))

    def start(self) -> None:
        self.web = self.stack.enter_context(InstalledWeb(self))
        self.worker = self.stack.enter_context(InstalledWorker(self))

    def stop(self) -> None:
        """End both servers as systemd does, the web server while the worker still runs."""
        for server in (self.web, self.worker):
            assert server.process is not None
            server.process.terminate()
            server.process.wait(90)
            server.stop()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Installed(Server):
    """A program of a host. Its folder is outside of the checkout, whose code it must not see."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self.working_folder = host.folder

    def environment(self) -> dict[str, str]:
        return self.host.environment()


class InstalledWeb(Installed):
    """The web server, started by the documented command from the environment."""

    name = "web"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.port = host.port

    def command(self) -> Sequence[str]:
        program, *arguments = documented_command("loupe web")
        return [str(self.host.bin / program), *arguments, "--port", str(self.port)]


class InstalledWorker(Installed):
    """``loupe qworker``, which listens on no port."""

    name = "worker"

    def command(self) -> Sequence[str]:
        return [str(self.host.bin / "loupe"), "qworker"]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env=self.environment(),
            )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # The worker ends its child processes, which may have other process sessions.
            self.process.terminate()
            self.process.wait(60)
        super().stop()


class Person:
    """A person with a browser without scripts: loads pages and sends their forms."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def send(self, page: str, form: dict[str, Any], *, to: str = "") -> httpx.Response:
        """Load a page and send a form of it."""
        shown = self.http.get(page)
        assert shown.status_code == 200, (page, shown.status_code, shown.text[:500])
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', shown.text)
        assert token is not None, page
        origin = self.http.headers.get("Origin", str(self.http.base_url).rstrip("/"))
        return self.http.post(
            to or page,
            data={**form, "csrfmiddlewaretoken": token[1]},
            headers={"Origin": origin},
        )

    def open_link(self, link: str, form: dict[str, str]) -> None:
        answer = self.send(link, form)
        assert answer.status_code == 200, answer.text

    def log_in(self, name: str) -> httpx.Response:
        answer = self.send("/login/", {"username": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return answer


def find_link(text: str) -> str:
    """Return the path of a link that works once."""
    found = re.search(r"(/invitations/[\w-]{20,}/)", text)
    assert found is not None, text
    return found[1]


def first_log_in(host: Host, operator: Person) -> None:
    """Run the documented command, open its link, and log in as the first operator."""
    link = find_link(host.loupe("setup", *documented_arguments("setup")))
    host.start()
    operator.open_link(link, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    operator.log_in("ada")


def join(operator: Person, person: Person, name: str, *roles: str) -> None:
    """Invite a person through the page, open the link as that person, and join."""
    answer = operator.send("/team/invitations/", {"roles": list(roles), "email": ""})
    form = {"username": name, "password1": PASSWORD, "password2": PASSWORD}
    person.open_link(find_link(answer.text), form)


class Program:
    """A program that uses the API with a key."""

    def __init__(self, http: httpx.Client, key: str) -> None:
        self.http, self.headers = http, {"Authorization": f"Bearer {key}"}

    def generate(self) -> str:
        """Ask for one image and return the task."""
        body = {
            "model_name": "sd_xl_base_1.0.safetensors",
            "prompt": "a harbour",
            "width": 512,
            "height": 512,
            "image_num": 1,
            "steps": 20,
            "guidance_scale": 7.5,
            "sampler_name": "Euler a",
        }
        answer = self.http.post("/v3/async/txt2img", json={"request": body}, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])

    def read(self, task: str) -> dict[str, Any]:
        answer = self.http.get(
            "/v3/async/task-result", params={"task_id": task}, headers=self.headers
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def is_done(self, task: str) -> bool:
        return bool(self.read(task)["task"]["status"] == "TASK_STATUS_SUCCEED")


def decide_next(moderator: Person, verdict: str = "approve") -> bool:
    """Claim the next image of the queue and decide it; return False if none waits."""
    claimed = moderator.send("/queues/waiting/", {}, to="/queues/waiting/claims/")
    review = re.search(r"/reviews/[0-9a-f-]{36}/", str(claimed.url))
    if review is None:
        return False
    decided = moderator.send(review[0], {"verdict": verdict}, to=f"{review[0]}decisions/")
    assert decided.status_code == 200, decided.text
    return True


def wait_for_decision(moderator: Person, seconds: float = 120.0) -> None:
    wait_until(lambda: decide_next(moderator), "an image in the queue", seconds=seconds)

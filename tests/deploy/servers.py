"""Servers that a test starts: PostgreSQL, Redis, PgBouncer, nginx, Loupe as documented."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.missing import skip_unless_required
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SECRET_KEY = "only-for-tests-" + "d" * 50
SEARCHED = "/usr/local/sbin:/usr/sbin:/sbin"
HOST = "loupe.example.org"


def find_program(name: str) -> str:
    """Return the path of a program; skip without it, or fail if REQUIRE_SERVERS=1."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1:]
    path = str(newest[0]) if newest else shutil.which(name, path=f"{os.environ['PATH']}:{SEARCHED}")
    if path:
        return path
    skip_unless_required(f"{name} is not installed", "REQUIRE_SERVERS")


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(found: Callable[[], Any], what: str, *, seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, f"{what}: nothing after {seconds:.0f} seconds"
        time.sleep(0.05)
    return answer


def documented_command(program: str) -> list[str]:
    """Return the command in docs/operations.md that starts this program."""
    blocks = re.findall(r"^```sh\n(.*?)^```", OPERATIONS, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = next(line for line in lines if line == program or line.startswith(f"{program} "))
    return shlex.split(found, comments=True)


def documented_arguments(command: str) -> list[str]:
    """Return the arguments of the first `loupe COMMAND` in a block of docs/operations.md."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", OPERATIONS, re.MULTILINE | re.DOTALL)
    found = re.search(rf"\bloupe {command}\b(.*)$", "\n".join(blocks), re.MULTILINE)
    assert found is not None, command
    return shlex.split(found[1], comments=True)


class Server(ABC):
    """A program with its own process session, folder and port."""

    name: str
    working_folder = ROOT

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"loupe-{self.name}-"))
        self.port = free_port()
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        # PostgreSQL and PgBouncer refuse to run as root.
        self.user = (
            "nobody" if os.getuid() == 0 and self.name in {"postgres", "pgbouncer"} else None
        )
        if self.user:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command line of the program, which stays in the foreground."""

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def run(self, *command: str) -> None:
        subprocess.run(command, check=True, user=self.user, cwd=self.folder, capture_output=True)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder if self.user else self.working_folder,
                env=self.environment(),
                user=self.user,
            )
        process = self.process
        wait_until(lambda: process.poll() is not None or is_listening(self.port), self.name)
        assert process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        """Kill the program and every process in its session."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    name = "postgres"

    def __init__(self, *, max_connections: int = 40) -> None:
        self.binary = find_program("postgres")
        self.max_connections = max_connections
        super().__init__()
        arguments = ["-U", "loupe", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self.run(find_program("initdb"), "-D", str(self.folder / "data"), *arguments)

    @property
    def url(self) -> str:
        return f"postgres://loupe@127.0.0.1:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        values = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "max_connections": self.max_connections,
        }
        return [
            self.binary,
            "-D",
            str(self.folder / "data"),
            *(f"--{name}={value}" for name, value in values.items()),
        ]

    def stop(self) -> None:
        super().stop()
        with suppress(FileNotFoundError):
            (self.folder / "data" / "postmaster.pid").unlink()

    def start(self) -> None:
        super().start()
        wait_until(lambda: self._accepts(), "postgres accepts connections")

    def _accepts(self) -> bool:
        command = [find_program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, capture_output=True).returncode == 0

    def ask(self, sql: str) -> str:
        """Run a query with psql, as an operator would, and return its output."""
        command = [find_program("psql"), self.url, "-Atc", sql]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Redis(Server):
    name = "redis"

    def __init__(self) -> None:
        self.binary = find_program("redis-server")
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        values = {"port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": ""}
        values["databases"] = 256  # one for each process of pytest-xdist, on many cores too
        return [
            self.binary,
            *(word for name, value in values.items() for word in (f"--{name}", str(value))),
        ]


class PgBouncer(Server):
    name = "pgbouncer"

    def __init__(self, postgres: Postgres, *, pool_size: int) -> None:
        self.binary = find_program("pgbouncer")
        super().__init__()
        self.url = f"postgres://loupe@127.0.0.1:{self.port}/postgres"
        (self.folder / "users").write_text('"loupe" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr"
            f" = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type ="
            f" trust\nauth_file = {self.folder}/users\npool_mode = transaction\ndefault_pool_size ="
            f" {pool_size}\n"
        )

    def command(self) -> Sequence[str]:
        return [self.binary, str(self.folder / "pgbouncer.ini")]


class Nginx(Server):
    """nginx with the shipped configuration; the lines marked CHANGE are adapted to the test."""

    name = "nginx"

    def __init__(
        self,
        *upstreams: int,
        assets: Path | None = None,
        bucket: str = "",
        authority: Path | None = None,
    ) -> None:
        """Prepare it.

        ``assets``: the folder of the images; ``bucket``: URL of a storage; ``authority``: the
        certificate by which it trusts web servers that speak TLS.
        """
        self.binary = find_program("nginx")
        super().__init__()
        pair = ["-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "cert.pem")]
        subject = ["-subj", f"/CN={HOST}", "-days", "2"]
        self.run(
            find_program("openssl"),
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            *pair,
            *subject,
        )
        text = (ROOT / "deploy" / "nginx.conf").read_text()
        for old, new in {
            "server 127.0.0.1:8000 ": " ".join(
                f"server 127.0.0.1:{port} fail_timeout=2s;" for port in upstreams[:-1]
            )
            + f" server 127.0.0.1:{upstreams[-1]} ",
            "listen 80;": f"listen 127.0.0.1:{free_port()};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
            "/etc/ssl/loupe/fullchain.pem": str(self.folder / "cert.pem"),
            "/etc/ssl/loupe/privkey.pem": str(self.folder / "key.pem"),
            "/var/lib/loupe/assets/": f"{assets or self.folder}/",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        if bucket:
            text = text.replace(
                "    location = /login/", f"{_adapt_bucket(bucket)}\n    location = /login/"
            )
        if authority:
            text = text.replace("proxy_pass http://loupe;", "proxy_pass https://loupe;")
            text = text.replace("# proxy_ssl_", "proxy_ssl_")
            text = text.replace("/etc/ssl/loupe/internal-ca.pem", str(authority))
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.getuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(
            f"{user}daemon off;\npid {self.folder}/pid;\nerror_log stderr;\nevents {{"
            f" worker_connections 4096; }}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"
        )

    def command(self) -> Sequence[str]:
        return [self.binary, "-e", "stderr", "-c", str(self.folder / "nginx.conf")]


def _adapt_bucket(url: str) -> str:
    """Return the shipped location of a bucket with its marked lines changed."""
    text = (ROOT / "deploy" / "nginx-bucket.conf").read_text()
    old = "loupe-images.s3.eu-west-1.amazonaws.com"
    assert text.count(old) == text.count("# CHANGE") == 2
    return text.replace(f"https://{old}", url).replace(old, url.removeprefix("http://"))


class Loupe(Server):
    """The web server, started by the documented command."""

    name = "web"
    options: Sequence[str] = ()

    def __init__(self, **variables: str) -> None:
        super().__init__()
        self.variables = {
            "DATA_DIR": str(self.folder),
            "SECRET_KEY": SECRET_KEY,
            "PUBLIC_URL": f"https://{HOST}",
            "CLASSIFIERS": "novita",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            **variables,
        }
        self.manage("collectstatic", "--noinput")
        self.manage("migrate")

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.variables}

    def manage(self, *arguments: str) -> str:
        """Run a command of Loupe and return its output."""
        command = [sys.executable, "manage.py", *arguments, "--verbosity=0"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def command(self) -> Sequence[str]:
        _, *arguments = documented_command("loupe web")
        assert "--port" not in arguments
        return [sys.executable, "manage.py", *arguments, "--port", str(self.port), *self.options]


class Worker(Server):
    """``manage.py qworker`` beside a web server."""

    name = "worker"

    def __init__(self, loupe: Loupe) -> None:
        super().__init__()
        self.loupe = loupe

    def environment(self) -> dict[str, str]:
        return self.loupe.environment()

    def command(self) -> Sequence[str]:
        return [sys.executable, "manage.py", "qworker"]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=ROOT,
                env=self.environment(),
            )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # The worker ends its child processes, which may have other process sessions.
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(40)
        super().stop()

"""Folders and databases of the benchmark: one pair per size, filled once and reused."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
# A run decides some thousands of images. Smaller databases are filled again for every run, because
# a run consumes their queue.
LASTING = 200_000
INHERITED = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR", "SQLITE_TMPDIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One benchmark installation of Loupe."""

    size: int
    folder: Path
    server: str = ""  # URL of a PostgreSQL server; "" for SQLite

    @property
    def vendor(self) -> str:
        return "PostgreSQL" if self.server else "SQLite"

    @property
    def database(self) -> str:
        return f"loupe_bench_{self.size}"

    @property
    def url(self) -> str:
        return (
            urlsplit(self.server)._replace(path=f"/{self.database}").geturl() if self.server else ""
        )

    def env(self, **more: str) -> dict[str, str]:
        """Return production's environment, without variables of the caller's shell."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name in INHERITED or name.startswith("BENCH_")
        }
        secret = (self.folder / "secret").read_text()
        return {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": secret,
            "RECORD_KEY": secret,  # decisions are signed, as in production
            "DATA_DIR": str(self.folder),
            "DATABASE_URL": self.url,
            "DEBUG": "0",
            "SANDBOX": "0",
            "CLASSIFIERS": "novita",
            "ENCODER": "none",  # the figures are those of the desk, not of a network
            **more,
        }

    def run(self, *command: str, **env: str) -> None:
        subprocess.run([sys.executable, *command], cwd=ROOT, env=self.env(**env), check=True)

    def inside(self, module: str, *args: str, **env: str) -> None:
        self.run("-m", "bench.inside", module, *args, **env)

    def ready(self) -> None:
        """Fill the database, unless this code has filled it for these migrations."""
        stamp, wanted = self.folder / "stamp", _fingerprint()
        is_filled = stamp.is_file() and stamp.read_text() == wanted and self.size >= LASTING
        if not is_filled or (self.server and not self._exists()):
            print(f"Filling {self.vendor} with {self.size:,} assets in {self.folder} …", flush=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / "secret").write_text(secrets.token_urlsafe(50))
            if self.server:
                self._create()
            self.run("manage.py", "migrate", "--verbosity", "0")
            self.inside("seed", str(self.size))
            stamp.write_text(wanted)
        self.run("manage.py", "collectstatic", "--no-input", "--verbosity", "0")
        self.inside("freshen")

    def _exists(self) -> bool:
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as server:
            found = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database])
            return found.fetchone() is not None

    def _create(self) -> None:
        import psycopg

        with psycopg.connect(self.server, autocommit=True) as server:
            server.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)".encode())
            server.execute(
                f"CREATE DATABASE {self.database} TEMPLATE template0 ENCODING 'UTF8'".encode()
            )


def _fingerprint() -> str:
    """Return a hash of everything that determines a filled database: code and migrations."""
    files = [
        ROOT / "bench" / name
        for name in ("seed.py", "dialects.py", "pictures.py", "picture_bytes.py")
    ]
    files += sorted(
        path
        for app in ("generation", "moderation")
        for path in (ROOT / app / "migrations").glob("0*.py")
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_place(size: int, folder: Path, server: str) -> Place:
    kind = "postgresql" if server else "sqlite"
    return Place(size=size, folder=(folder / f"{kind}-{size}").resolve(), server=server)

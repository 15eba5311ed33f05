"""Two hosts behind nginx with PostgreSQL, Redis and a bucket: first log-in, upgrade, rollback.

Each host is a data folder, a port, a host name, a web server and a worker that run from the wheel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.buckets import Moto, variables
from tests.deploy.installed import (
    Host,
    Person,
    build_wheel,
    first_log_in,
    join,
    make_environment,
    make_next_environment,
    wait_for_decision,
)
from tests.deploy.servers import HOST, ROOT, Nginx, Postgres, Redis, wait_until

pytestmark = pytest.mark.slow
NEXT_FILE = "next-release.txt"
MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("generation", "{before}")]
    operations = [
        migrations.AddField("asset", "next_release", models.IntegerField(null=True)),
    ]
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(build_wheel(tmp_path_factory.mktemp("dist")))


@pytest.fixture(scope="module")
def next_environment(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the next release: another version, one more column, one more static file."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    project = source / "pyproject.toml"
    text, changed = re.subn(
        r'^version = ".*"$', 'version = "99.0.0"', project.read_text(), flags=re.MULTILINE
    )
    assert changed == 1
    project.write_text(text)
    migrations = source / "generation" / "migrations"
    before = max(path.stem for path in migrations.glob("0*.py"))
    (migrations / "9999_next_release.py").write_text(MIGRATION.format(before=before))
    (source / "static" / NEXT_FILE).write_text("next")
    wheel = build_wheel(tmp_path_factory.mktemp("next-dist"), source)
    return make_next_environment(environment, wheel, tmp_path_factory.mktemp("next"))


class Site:
    """Two hosts with one settings file, and the proxy in front."""

    def __init__(self, environment: Path, stack: ExitStack) -> None:
        self.postgres: Postgres = stack.enter_context(Postgres(max_connections=100))
        self.redis: Redis = stack.enter_context(Redis())
        storage = stack.enter_context(Moto())
        values = {
            **variables(storage.url),
            "PUBLIC_URL": f"https://{HOST}",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "CLASSIFIERS": "opennsfw",
            "WEB_DRAIN_SECONDS": "1",
        }
        self.first = stack.enter_context(Host(environment, name="host-a", **values))
        self.second = stack.enter_context(Host(environment, name="host-b"))
        shutil.copy(self.first.settings, self.second.settings)
        self.nginx: Nginx = stack.enter_context(Nginx(self.first.port, self.second.port))

    def browse(self, proxy: Nginx | None = None) -> dict[str, Any]:
        """Return options of a client that reaches the site by its name, through the proxy."""
        headers = {"Host": HOST, "Origin": f"https://{HOST}"}
        port = (proxy or self.nginx).port
        return {"url": f"https://127.0.0.1:{port}", "headers": headers, "verify": False}

    def copy_settings(self, environment: Path, name: str) -> Host:
        """Return a third host with the same keys, and a database and a bucket of its own."""
        host = Host(environment, name=name)
        text = self.first.settings.read_text()
        for setting, value in {
            "DATABASE_URL": self.postgres.url.rpartition("/")[0] + f"/{name}",
            "REDIS_URL": self.redis.url.removesuffix("0") + "1",
            "S3_PREFIX": name,
        }.items():
            text, changed = re.subn(rf"(?m)^{setting}=.*$", f"{setting}={value}", text)
            assert changed == 1, setting
        host.settings.write_text(text)
        return host

    def reporting(self) -> str:
        """Return the names of the hosts whose workers have reported."""
        return self.postgres.ask(
            "SELECT string_agg(DISTINCT host, ' ' ORDER BY host) FROM generation_storagereport"
        )

    def import_image(self, host: Host, number: int) -> None:
        path = host.folder / f"{number}.png"
        Image.effect_noise((64, 64), 20 + number).save(path)
        host.loupe("import_images", str(path))


@pytest.fixture(scope="module")
def site(environment: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(environment, stack)


class Traffic:
    """Requests through the proxy while hosts are replaced."""

    def __init__(self, person: Person) -> None:
        self.person, self.ended = person, Event()
        self.statuses: list[int] = []
        self.thread = Thread(target=self.run)

    def run(self) -> None:
        while not self.ended.wait(0.1):
            self.statuses.append(self.person.http.get("/queues/").status_code)

    def __enter__(self) -> Traffic:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()


def start_both(site: Site, operator: Person, moderator: Person) -> None:
    """Lead both hosts from empty data folders to a decided image of each."""
    first, second = site.first, site.second
    first.loupe("check", "--deploy", "--fail-level", "WARNING")
    first_log_in(first, operator)
    assert "People can log in at" in second.loupe("setup")
    second.start()
    for host in (first, second):
        url = f"http://127.0.0.1:{host.port}/readyz"
        wait_until(lambda url=url: httpx.get(url).json()["storage"] == "ok", "shared storage")
    join(operator, moderator, "bob", "moderator")
    wait_until(lambda: site.reporting() == "host-a host-b", "reports of both workers")
    # An image that one host stores is decided through either.
    for number, host in enumerate((first, second)):
        site.import_image(host, number)
        wait_for_decision(moderator)


def upgrade_and_roll_back(
    site: Site, operator: Person, moderator: Person, next_environment: Path
) -> None:
    """Migrate beside the running old version, replace the second host, and go back again."""
    first, second = site.first, site.second
    second.bin = next_environment / "bin"
    assert second.loupe("--version") == "Loupe 99.0.0\n"
    assert "People can log in at" in second.loupe("setup")
    assert "next_release" in site.postgres.ask(
        "SELECT string_agg(column_name, ' ') FROM information_schema.columns"
        " WHERE table_name = 'generation_asset'"
    )
    second.stop()
    second.start()

    # Old code with the new database, new code beside it.
    site.import_image(first, 2)
    wait_for_decision(moderator)
    file = f"/static/{NEXT_FILE}"
    wait_until(lambda: operator.http.get(file).status_code == 200, "the host is asked again")
    answers = {operator.http.get(file).status_code for _ in range(8)}
    assert answers == {200}, "the proxy asks the other host for a file that one does not have"

    second.stop()
    second.bin = first.bin
    second.start()
    site.import_image(second, 3)
    wait_for_decision(moderator)


def test_site_runs_on_two_hosts_is_upgraded_and_restored_elsewhere(
    site: Site, environment: Path, next_environment: Path
) -> None:
    operator, moderator = (site.first.browse(**site.browse()) for _ in range(2))
    start_both(site, operator, moderator)

    with Traffic(site.first.browse(**site.browse())) as traffic:
        traffic.person.log_in("bob")
        upgrade_and_roll_back(site, operator, moderator, next_environment)
    assert len(traffic.statuses) > 5
    assert set(traffic.statuses) == {200}
    assert "4 decisions" in site.first.loupe("verify_decisions")
    site.first.loupe("verify_assets")

    folder = site.first.folder / "backup"
    site.first.loupe("backup", str(folder))
    site.postgres.ask("CREATE DATABASE elsewhere")
    with site.copy_settings(environment, "elsewhere") as elsewhere:
        elsewhere.loupe("restore", str(folder))
        assert "4 decisions" in elsewhere.loupe("verify_decisions")
        elsewhere.loupe("verify_assets")
        elsewhere.loupe("setup")
        elsewhere.start()
        with Nginx(elsewhere.port) as proxy:
            again = elsewhere.browse(**site.browse(proxy))
            again.log_in("bob")
            assert again.http.get("/history/").text.count("Approve") >= 4

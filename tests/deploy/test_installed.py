"""The wheel in an empty environment: from the first command to a decided image."""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.deploy.installed import (
    Host,
    Program,
    build_wheel,
    first_log_in,
    join,
    make_environment,
    wait_for_decision,
)
from tests.deploy.servers import ROOT, wait_until

pytestmark = pytest.mark.slow
# Licences that would bind those who serve Loupe to others, or who pass it on.
COPYLEFT = re.compile(r"\b(A?GPL|Affero|General Public License)", re.IGNORECASE)
LESSER = re.compile(r"\bL(esser )?GPL|Lesser General Public|Library General Public", re.IGNORECASE)
LICENCES = """
import json
from importlib.metadata import distributions
print(json.dumps({d.metadata["Name"]: [d.metadata.get("License-Expression") or "",
    (d.metadata.get("License") or "")[:200],
    *[c for c in d.metadata.get_all("Classifier") or [] if c.startswith("License")]]
    for d in distributions()}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    return make_environment(wheel)


def test_wheel_contains_every_tracked_file_that_runs_and_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    code = ("config", "generation", "moderation", "templates", "static")
    listed = subprocess.run(
        ["git", "ls-files", *code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    expected = {f"loupe_desk/{name}" for name in listed.stdout.splitlines()}

    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"loupe_desk"}
    assert expected <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".env", ".sqlite3", ".onnx"))]


def test_environment_contains_no_gpl_or_agpl_package(environment: Path) -> None:
    """Two packages are under the LGPL: psycopg and its pool (pyproject.toml names the reason)."""
    command = [str(environment / "bin" / "python"), "-c", LICENCES]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert len(found) > 60
    lesser = {name for name, texts in found.items() if LESSER.search(" ".join(texts))}
    strong = {
        name
        for name, texts in found.items()
        if COPYLEFT.search(LESSER.sub("", " ".join(texts))) and name not in lesser
    }
    assert strong == set()
    assert {name.lower() for name in lesser} <= {"psycopg", "psycopg-binary", "psycopg-pool"}
    assert not {"nudenet", "pytest"} & {name.lower() for name in found}


def test_installed_loupe_names_its_files_when_nothing_is_set(environment: Path) -> None:
    command = [str(environment / "bin" / "loupe"), "migrate"]
    started = subprocess.run(command, cwd="/", env={}, capture_output=True, text=True)

    assert started.returncode == 1
    assert "/etc/loupe/settings.env" in started.stderr
    assert "/var/lib/loupe/settings.env" in started.stderr
    assert "loupe make_settings" in started.stderr
    assert "Traceback" not in started.stderr


def test_installed_loupe_passes_the_deployment_check(environment: Path) -> None:
    with Host(environment, PUBLIC_URL="https://loupe.example", NOVITA_API_KEY="sk_1") as host:
        host.loupe("check", "--deploy", "--fail-level", "WARNING")
        host.loupe("makemigrations", "--check", "--dry-run")


def test_image_is_generated_and_decided_with_the_installed_loupe(environment: Path) -> None:
    options = {"SANDBOX": "1", "SANDBOX_LATENCY": "0.1", "CLASSIFIERS": "opennsfw"}
    with Host(environment, NOVITA_API_KEY="", **options) as host:
        url = f"http://127.0.0.1:{host.port}"
        operator, moderator = host.browse(url), host.browse(url)
        first_log_in(host, operator)
        page = operator.http.get("/login/")
        stylesheet = re.search(r'href="(/static/css/[^"]+)"', page.text)
        assert stylesheet is not None
        assert "immutable" in operator.http.get(stylesheet[1]).headers["Cache-Control"]
        assert operator.http.get("/readyz").status_code == 200

        key = host.loupe("create_api_key", "shop", "--scope", "generate").strip()
        program = Program(host.browse(url).http, key)
        join(operator, moderator, "bob", "moderator")
        task = program.generate()
        wait_for_decision(moderator)

        wait_until(lambda: program.is_done(task), "the decided task")
        (image,) = program.read(task)["images"]
        assert program.http.get(image["image_url"]).headers["Content-Type"].startswith("image/")
        assert "1 decision" in host.loupe("verify_decisions")
        assert "/invitations/" not in host.loupe("setup")

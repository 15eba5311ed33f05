"""The role of web server and worker, as deploy/database.sh and `loupe setup` make it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.servers import HOST, ROOT, SECRET_KEY, Postgres, find_program

pytestmark = pytest.mark.slow


def setup(folder: Path, **variables: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": SECRET_KEY,
        "DATA_DIR": str(folder),
        "PUBLIC_URL": f"https://{HOST}",
        **variables,
    }
    command = [sys.executable, "manage.py", "setup"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_role(server: Postgres) -> None:
    programs = Path(find_program("psql")).parent
    subprocess.run(
        [str(ROOT / "deploy" / "database.sh")],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "POSTGRES_USER": "loupe",
            "POSTGRES_DB": "postgres",
            "LOUPE_APP_PASSWORD": "it's one of the tests",
        },
        check=True,
    )


def test_setup_gives_the_role_its_rights_and_runs_again_as_that_role(tmp_path: Path) -> None:
    with Postgres() as server:
        make_role(server)
        application = server.url.replace("loupe@", "loupe_app@")
        first = setup(tmp_path, DATABASE_URL=application, MIGRATION_DATABASE_URL=server.url)
        # Like another host, which does not know the owner.
        again = setup(tmp_path, DATABASE_URL=application)

        rights = {
            right: server.ask(
                f"SELECT has_table_privilege('loupe_app', 'moderation_decision', '{right}')"
            )
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
        }
        owned = server.ask("SELECT count(*) FROM pg_tables WHERE tableowner = 'loupe_app'")

    assert "loupe_app has the rights of the application." in first
    assert "/invitations/" in first
    assert "/invitations/" in again
    assert [right for right, answer in rights.items() if answer == "t"] == ["SELECT", "INSERT"]
    assert owned == "0"

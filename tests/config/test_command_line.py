"""Command line: overview, version, settings files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, get_commands

from config.command_line import OVERVIEW, describe_commands
from tests.config.test_install import run


def make(*values: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    call_command("make_settings", *values)
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", capsys.readouterr().out, re.MULTILINE))


def test_overview_names_commands_that_exist() -> None:
    named = [name for names in OVERVIEW.values() for name in names]

    assert set(named) <= set(get_commands())
    assert all(f"  {name} " in describe_commands("loupe") for name in named)


@pytest.mark.parametrize("arguments", [(), ("help",), ("-h",), ("--help",)])
def test_command_line_alone_prints_the_overview_without_settings(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shown = run(sys.executable, "-m", "loupe_desk", *arguments, DATA_DIR=str(tmp_path))

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("Loupe ")
    assert "Usage: loupe COMMAND" in shown.stdout
    assert "  setup " in shown.stdout


def test_version_needs_no_settings(tmp_path: Path) -> None:
    shown = run(sys.executable, "-m", "loupe_desk", "--version", DATA_DIR=str(tmp_path))

    assert re.fullmatch(r"Loupe (\(a checkout\)|[0-9.]+)\n", shown.stdout)


def test_settings_file_has_new_keys_and_the_given_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = make("PUBLIC_URL=https://desk.example", "SPENDING_LIMIT_PER_DAY=7", capsys=capsys)
    second = make("NEWER_SETTING=a=b", capsys=capsys)

    assert (first["PUBLIC_URL"], first["SPENDING_LIMIT_PER_DAY"]) == ("https://desk.example", "7")
    assert second["NEWER_SETTING"] == "a=b"
    assert len(first["SECRET_KEY"]) >= 50
    assert len(first["RECORD_KEY"]) >= 50
    assert first["RECORD_KEY"] not in (second["RECORD_KEY"], first["SECRET_KEY"])
    assert first["SECRET_KEY"] != second["SECRET_KEY"] != second["HEAD_SIGNING_KEY"]


@pytest.mark.parametrize("value", ["PUBLIC_URL", "public_url=x", "A=1\nDEBUG=1"])
def test_settings_file_refuses_what_is_no_setting(value: str) -> None:
    with pytest.raises(CommandError, match="NAME=VALUE"):
        call_command("make_settings", value)


def test_loupe_starts_with_a_made_settings_file_alone(tmp_path: Path) -> None:
    values = ("DATABASE_URL=", f"DATA_DIR={tmp_path}/data", "CLASSIFIERS=opennsfw")
    made = run(sys.executable, "manage.py", "make_settings", *values)
    file = tmp_path / "settings.env"
    file.write_text(made.stdout)

    checked = run(sys.executable, "manage.py", "check", "--deploy", SETTINGS_FILE=str(file))

    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout + checked.stderr


def test_missing_settings_file_stops_the_start(tmp_path: Path) -> None:
    started = run(sys.executable, "manage.py", "check", SETTINGS_FILE=str(tmp_path / "none.env"))

    assert started.returncode == 1
    assert started.stderr.startswith("Loupe cannot start: SETTINGS_FILE=")

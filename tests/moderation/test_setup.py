"""Command setup: from an empty database to the first log-in."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from moderation.models import TeamEvent

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def static_root(settings: Any, tmp_path: Path) -> Path:
    settings.STATIC_ROOT = tmp_path / "static"
    return tmp_path / "static"


def setup(*arguments: str) -> str:
    output = StringIO()
    call_command("setup", *arguments, stdout=output)
    return output.getvalue()


def find_path(output: str) -> str:
    return re.search(r"(/invitations/\S+/)", output)[1]


def choose_password(client: Client, path: str) -> int:
    # Like a browser: the page first, then its form.
    assert client.get(path).status_code == 200
    form = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    return client.post(path, form).status_code


def test_setup_leads_to_a_first_operator_who_manages_the_team(client: Client) -> None:
    output = setup("--operator", "ada", "--email", "ada@loupe.example")

    assert choose_password(client, find_path(output)) == 200
    person = User.objects.get(username="ada")
    assert person.check_password(PASSWORD)
    client.force_login(person)
    assert client.get("/team/").status_code == 200
    assert (person.is_superuser, person.is_staff, person.email) == (
        False,
        False,
        "ada@loupe.example",
    )
    assert TeamEvent.objects.filter(details__contains="manage.py setup").count() == 2


def test_second_setup_replaces_the_link(client: Client) -> None:
    first, second = find_path(setup()), find_path(setup())

    assert client.get(first).status_code == 410
    assert choose_password(client, second) == 200
    assert User.objects.get(username="operator").check_password(PASSWORD)
    assert User.objects.count() == 1


def test_setup_makes_no_link_when_an_operator_can_log_in(client: Client) -> None:
    choose_password(client, find_path(setup()))

    output = setup("--operator", "mallory")

    assert "/invitations/" not in output
    assert "People can log in at" in output
    assert not User.objects.filter(username="mallory").exists()


def test_setup_makes_no_link_when_an_operator_has_logged_in_without_a_password() -> None:
    setup()
    User.objects.update(last_login="2026-12-01T00:00Z")

    assert "/invitations/" not in setup()


def test_setup_refuses_a_name_that_belongs_to_somebody_else() -> None:
    User.objects.create_user("ada", password=PASSWORD)

    with pytest.raises(CommandError, match="already exists"):
        setup("--operator", "ada")


def test_setup_collects_static_files(static_root: Path) -> None:
    setup()

    assert list(static_root.glob("css/*.css"))

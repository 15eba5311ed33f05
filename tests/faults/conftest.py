"""Fixtures of the fault tests: the world that their jobs work in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from generation.models import Asset
from moderation.models import Review
from moderation.services import training_data
from tests.faults.scenarios import World, count_from, reset_caches
from tests.moderation.api.calls import LocalServer, run_local_server


@pytest.fixture
def hook() -> Iterator[LocalServer]:
    with run_local_server() as server:
        yield server


@pytest.fixture
def world(
    transactional_db: None,
    novita_sandbox: None,
    make_asset: Callable[..., Asset],
    make_review: Callable[..., Review],
    moderator: User,
    lead: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    live_server: Any,
    hook: LocalServer,
    tmp_path: Path,
) -> Iterator[World]:
    second = User.objects.create_user("second lead")
    second.groups.set(Group.objects.filter(name="policy lead"))
    settings.PUBLIC_URL = live_server.url
    settings.CALLER_ALLOW = [hook.address]
    settings.ENCODER = ""
    monkeypatch.setattr(training_data, "SETTLED", training_data.SETTLED * 0)
    yield World(
        make_asset,
        make_review,
        moderator,
        lead,
        second,
        settings,
        monkeypatch,
        live_server.url,
        hook,
        tmp_path,
        count_from(1000),
    )
    reset_caches()

"""A program that calls the API: its key and its server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from generation.models import ApiKey
from tests.moderation.api.calls import LocalServer, run_local_server


@pytest.fixture
def api_key() -> tuple[ApiKey, str]:
    return ApiKey.make(name="shop", scopes=["generate"])


@pytest.fixture
def key(api_key: tuple[ApiKey, str]) -> str:
    return api_key[1]


@pytest.fixture
def hook(settings: Any) -> Iterator[LocalServer]:
    """Run the webhook server of a program."""
    with run_local_server() as found:
        settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, found.address]
        yield found

"""Fixtures that connect every test of this folder to the sandbox's vision model over a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from generation.providers import chat
from moderation import classifiers


@pytest.fixture(autouse=True)
def _sandbox(live_server: Any, settings: Any) -> Iterator[None]:
    settings.CLASSIFIERS = ["vlm"]
    settings.VLM = {**settings.VLM, "base_url": f"{live_server.url}/sandbox/vlm/v1"}
    classifiers.get.cache_clear()
    chat._without_schema.clear()
    yield
    classifiers.get.cache_clear()
    chat._without_schema.clear()


@pytest.fixture
def behave(settings: Any) -> Callable[[str], None]:
    """Return a function that makes the sandbox behave as one of its keys says."""

    def use(behaviour: str) -> None:
        settings.VLM = {**settings.VLM, "api_key": f"sandbox-{behaviour}"}

    return use

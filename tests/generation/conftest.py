"""Fixtures for the sandbox over a socket, and for the model suggestions of the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from generation.services import model_catalog


@pytest.fixture
def pipeline(novita_sandbox: None, settings: Any) -> None:
    """Run the whole pipeline, with Novita's detection and the sandbox's classifier."""
    settings.CLASSIFIERS = ["novita", "sandbox"]


@pytest.fixture
def scenario_sandbox(live_server: Any, settings: Any) -> Callable[..., None]:
    settings.FETCH_ALLOW = [live_server.url.removeprefix("http://")]
    settings.CLASSIFIERS = ["scenario"]

    def use(key: str = "sandbox") -> None:
        settings.SCENARIO = {
            "api_key": key,
            "api_secret": "sandbox",
            "base_url": f"{live_server.url}/sandbox/scenario/v1",
            "label": "Scenario (sandbox)",
        }

    use()
    return use


@pytest.fixture
def model_suggestions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        model_catalog, "suggest_checkpoints", lambda slug: [("alder.safetensors", "Alder")]
    )

"""Fixtures that connect every test of this folder to nano-gpt's sandbox over a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from generation.providers import nanogpt as client


@pytest.fixture(autouse=True)
def calls(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Use the sandbox over a socket, and return the number of images of each call."""
    settings.CLASSIFIERS = ["nanogpt"]
    base_url = f"{live_server.url}/sandbox/nano-gpt"
    settings.NANOGPT = {"api_key": "sandbox", "base_url": base_url, "label": "nano-gpt (sandbox)"}
    made: list[int] = []
    real = client.NanoGpt.classify

    def counted(self: Any, images: Any) -> Any:
        made.append(len(images))
        return real(self, images)

    monkeypatch.setattr(client.NanoGpt, "classify", counted)
    return made


@pytest.fixture
def key(settings: Any) -> Callable[[str], None]:
    def use(value: str) -> None:
        settings.NANOGPT = {**settings.NANOGPT, "api_key": value}

    return use

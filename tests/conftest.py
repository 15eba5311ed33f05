"""Fixtures for every test: people, requests, assets, reviews, the sandbox."""

from __future__ import annotations

import io
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from PIL import Image

from generation import imaging, providers
from generation.models import Asset, GenerationRequest, Source
from generation.services.storing import Origin, store_rendition
from moderation.models import Decision, Policy, Review

PASSWORD = "correct horse battery staple"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_TIMEOUT = 60_000  # milliseconds; Playwright's own 5 s are too few for a busy machine


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests/e2e in one process, because one stack serves it, and so each file of
    tests/browser.

    xdist 3.8 hands its groups over inside node ids, which pytest 9.2 no longer lets it change, so
    their marks alone group nothing (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneStack(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith("tests/browser/"):
                return nodeid.partition("::")[0]  # one browser a file
            return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid

    # In the order below: after a test with real commits the migrations' rows are gone, so those
    # come last.
    config.option.loadscopereorder = False
    return OneStack(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stack first, which takes longest and touches no database of the tests; the rest as
    pytest-django has it.
    """
    items.sort(key=lambda item: not item.nodeid.startswith("tests/e2e/"))


@pytest.fixture(scope="session", autouse=True)
def _data_dir() -> Iterator[None]:
    yield
    shutil.rmtree(django_settings.DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _patient_decoder() -> Iterator[None]:
    """Give the decoder more than its usual 10 seconds: a busy machine may need them."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("WALL_SECONDS", "START_SECONDS", "WAIT_SECONDS"):
            patch.setattr(imaging.pool, limit, 300.0)
        yield


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach anything but this machine."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise AssertionError(f"a test tried to reach {address}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _called_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread of the sandbox that calls back outlives its test: another one would meet it in the
    network.
    """
    monkeypatch.setattr("generation.sandbox.webhooks.PAUSE", 0.0)
    yield
    for thread in threading.enumerate():
        if thread.name == "sandbox-webhook":
            thread.join(20)
            assert not thread.is_alive()


def _migration(name: str) -> Any:
    return import_module(f"moderation.migrations.{name}")


@pytest.fixture(autouse=True)
def _reference_data(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests with real commits end in a flush, which takes the migrations' rows along and may not
    touch decisions.
    """
    marker = request.node.get_closest_marker("django_db")
    real_commits = {"transactional_db", "live_server"} & set(request.fixturenames)
    if not real_commits and not (marker and marker.kwargs.get("transaction")):
        yield
        return
    request.getfixturevalue("transactional_db")
    if not Policy.objects.exists():
        with connection.schema_editor() as editor:
            _migration("0003_roles_and_first_policy").make(apps, editor)
            evidence = _migration("0020_fill_policy_evidence")
            evidence.note_activations(apps, editor)
            evidence.keep_what_policies_did(apps, editor)
    yield
    with connection.schema_editor() as editor:
        _migration("0002_append_only").unlock(apps, editor)
    Decision.objects.filter(reverses__isnull=False).delete()
    Decision.objects.filter(second_of__isnull=False).delete()
    Decision.objects.all().delete()
    with connection.schema_editor() as editor:
        _migration("0002_append_only").lock(apps, editor)


def _person(name: str, *roles: str, **fields: Any) -> User:
    user = User.objects.create_user(name, password=PASSWORD, **fields)
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


@pytest.fixture
def moderator(db: None) -> User:
    return _person("moderator", "moderator")


@pytest.fixture
def other_moderator(db: None) -> User:
    return _person("other", "moderator")


@pytest.fixture
def senior(db: None) -> User:
    return _person("senior", "senior moderator")


@pytest.fixture
def lead(db: None) -> User:
    return _person("lead", "policy lead")


@pytest.fixture
def auditor(db: None) -> User:
    return _person("auditor", "auditor")


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("admin", password=PASSWORD)


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """A browser in which this person is logged in."""

    def client(user: User) -> Client:
        browser = Client()
        browser.force_login(user)
        return browser

    return client


def picture(
    seed: int = 0, *, size: tuple[int, int] = (160, 120), image_format: str = "PNG"
) -> bytes:
    """A harmless picture of coloured noise, another one for every seed."""
    small = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, image_format)
    return file.getvalue()


@pytest.fixture
def make_request(db: None) -> Callable[..., GenerationRequest]:
    def make(**fields: Any) -> GenerationRequest:
        values: dict[str, Any] = {
            "provider": "novita-sandbox",
            "model_name": "alder_realism_v4.safetensors",
            "width": 512,
            "height": 512,
            "prompt": "a quiet harbour at dawn",
            "image_num": 1,
            "steps": 20,
            "guidance_scale": "7.5",
            "sampler_name": "Euler a",
            "seed": 7,
            "response_image_type": "png",
        }
        return GenerationRequest.objects.create(**{**values, **fields})

    return make


@pytest.fixture
def make_asset(db: None) -> Callable[..., Asset]:
    """Store a picture through the real service; its review opens as in life."""
    count = iter(range(1, 10_000))

    def make(content: bytes | None = None, **origin: Any) -> Asset:
        rendition = imaging.render(content or picture(next(count)))
        return store_rendition(
            rendition=rendition, origin=Origin(**{"source": Source.UPLOAD, **origin})
        )

    return make


@pytest.fixture
def make_review(make_asset: Callable[..., Asset], settings: Any) -> Callable[..., Review]:
    """A review that waits for a person, because no classifier was there to look."""

    def make(**origin: Any) -> Review:
        before, settings.CLASSIFIERS = settings.CLASSIFIERS, []
        try:
            return make_asset(**origin).review
        finally:
            settings.CLASSIFIERS = before

    return make


@pytest.fixture
def novita_sandbox(live_server: Any, settings: Any) -> Iterator[None]:
    """Reach the sandbox of Novita over a socket, alone of all providers."""
    entry = settings.IMAGE_PROVIDERS["novita-sandbox"]
    address = {**entry["OPTIONS"], "base_url": f"{live_server.url}/sandbox/novita"}
    settings.IMAGE_PROVIDERS = {"novita-sandbox": {**entry, "OPTIONS": address}}
    settings.FETCH_ALLOW = [live_server.url.removeprefix("http://")]
    settings.CLASSIFIERS = ["sandbox"]
    providers.get_provider.cache_clear()
    yield
    providers.get_provider.cache_clear()


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Chromium, wherever it is; absent it is a named skip, or a failure under REQUIRE_BROWSER=1."""
    for name in BROWSERS:
        if path := shutil.which(name):
            from playwright.sync_api import expect

            expect.set_options(timeout=BROWSER_TIMEOUT)
            return path
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail("REQUIRE_BROWSER=1, but no Chromium is installed.")
    pytest.skip("no Chromium is installed; REQUIRE_BROWSER=1 makes this a failure")

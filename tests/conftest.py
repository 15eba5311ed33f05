"""Fixtures for every test: users, requests, assets, reviews, the sandbox."""

from __future__ import annotations

import functools
import gc
import io
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from PIL import Image

from generation import imaging, providers
from generation.models import Asset, GenerationRequest, Source
from generation.services.storing import Origin, store_rendition
from moderation import append_only
from moderation.models import Policy, Review
from moderation.presenters import evidence_matrix
from moderation.services import sealing
from tests import database
from tests.missing import skip_unless_required

# Python's own 700 objects make it look through 400,000 of modules and tests all the time, which was
# a fifth of the suite's processor time.
gc.set_threshold(100_000, 10, 10)

PASSWORD = "correct horse battery staple"
# The headless shell needs half the processor time of the whole browser, with the same engine.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER_TIMEOUT = 60_000  # milliseconds; Playwright's own 5 s are too few for a busy machine


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run tests/e2e in one process, and each file of tests/browser in one process.

    tests/e2e shares one stack, and a file of tests/browser shares one browser. xdist 3.8 passes
    its groups inside node ids, which pytest 9.2 no longer allows it to change, so the marks alone
    have no effect (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneStack(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith("tests/browser/"):
                return nodeid.partition("::")[0]  # one browser a file
            return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid

    # Keep the collected order: a test with real commits deletes the rows of the migrations, so
    # those tests run last.
    config.option.loadscopereorder = False
    return OneStack(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests/e2e first: it takes longest and does not use the test database."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/e2e/"))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _data_dir() -> Iterator[None]:
    yield
    shutil.rmtree(django_settings.DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _patient_decoder() -> Iterator[None]:
    """Raise the decoder's time limits, usually 10 s, for a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("WALL_SECONDS", "START_SECONDS", "WAIT_SECONDS"):
            patch.setattr(imaging.pool, limit, 300.0)
        yield


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the migrated SQLite database of this run."""
    folder = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own inside one that they share.
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return shared / "migrated.sqlite3"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None,
    django_test_environment: None,
    django_db_blocker: Any,
    migrated_database: Path,
) -> None:
    """Begin with a copy of the migrated database, to which nothing is left to migrate."""
    if connection.vendor != "sqlite":
        return
    options = connection.settings_dict["TEST"]
    options["MIGRATE"] = False
    with django_db_blocker.unblock():
        database.prepare(migrated_database, Path(options["NAME"]))


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_modify_db_settings: None) -> bool:
    return connection.vendor == "sqlite"


@pytest.fixture(autouse=True)
def _no_counts_of_other_tests() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to any address except the loopback interface."""
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
def _no_kept_limits() -> None:
    """Forget the limits of policies, because the next test gives their keys to other ones."""
    evidence_matrix.load_limits.cache_clear()


@pytest.fixture(autouse=True)
def _called_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for the sandbox's webhook threads, so that none sends a webhook into the next test."""
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
    """Restore the rows of the migrations before, and delete decisions after a test with commits.

    Such a test ends with a flush, which deletes the rows of the migrations and cannot delete
    append-only decisions.
    """
    marker = request.node.get_closest_marker("django_db")
    real_commits = {"transactional_db", "live_server"} & set(request.fixturenames)
    if connection.vendor == "sqlite":  # where flushing restores them
        yield
        return
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
        sealing.seal_new_record()
    yield
    tables = ", ".join([*append_only.FROZEN, "moderation_chainhead"])
    with connection.schema_editor() as editor:
        append_only.unlock(apps, editor)
        editor.execute(f"TRUNCATE {tables} CASCADE")
        append_only.lock(apps, editor)


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
def operator(db: None) -> User:
    return _person("operator", "operator")


@pytest.fixture
def integrator(db: None) -> User:
    return _person("integrator", "integrator")


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("admin", password=PASSWORD)


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """Return a function that returns a test client with the given user logged in."""

    def client(user: User) -> Client:
        browser = Client()
        browser.force_login(user)
        return browser

    return client


@functools.cache
def picture(
    seed: int = 0, *, size: tuple[int, int] = (160, 120), image_format: str = "PNG"
) -> bytes:
    """Return an encoded image of coloured noise, a different one for every seed."""
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


@functools.lru_cache(256)
def _render_once(content: bytes) -> imaging.Rendition:
    return imaging.render(content)


@pytest.fixture
def make_asset(db: None) -> Callable[..., Asset]:
    """Return a function that stores an image by the real service, which creates its review."""
    count = iter(range(1, 10_000))

    def make(content: bytes | None = None, **origin: Any) -> Asset:
        rendition = _render_once(content or picture(next(count)))
        return store_rendition(
            rendition=rendition, origin=Origin(**{"source": Source.UPLOAD, **origin})
        )

    return make


@pytest.fixture
def make_review(make_asset: Callable[..., Asset], settings: Any) -> Callable[..., Review]:
    """Return a function that makes a pending review, with no classifier configured."""

    def make(**origin: Any) -> Review:
        before, settings.CLASSIFIERS = settings.CLASSIFIERS, []
        try:
            return make_asset(**origin).review
        finally:
            settings.CLASSIFIERS = before

    return make


@pytest.fixture
def novita_sandbox(live_server: Any, settings: Any) -> Iterator[None]:
    """Configure Novita's sandbox on the live server as the only provider."""
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
    """Return the path of Chromium; skip without it, or fail if REQUIRE_BROWSER=1."""
    for name in BROWSERS:
        if path := shutil.which(name):
            from playwright.sync_api import expect

            expect.set_options(timeout=BROWSER_TIMEOUT)
            return path
    skip_unless_required("no Chromium is installed", "REQUIRE_BROWSER")

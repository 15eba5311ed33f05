"""The move of images between a directory and a bucket, under traffic."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import Client

from generation.core.moving import MovingStorage
from generation.core.storage import StoredFile, asset_name, get_asset_storage
from generation.models import Asset
from generation.services import moving, storage_checks
from tests import buckets
from tests.buckets import FaultyProxy, Moto
from tests.conftest import picture
from tests.stored import list_stored, read_stored, use_directory

pytestmark = pytest.mark.django_db
NAME = asset_name("ab" + "0" * 62, "png")
MakeAsset = Callable[..., Asset]


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


class House:
    """An installation that changes its storage settings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Any, url: str, folder: Path):
        self.monkeypatch, self.settings, self.url, self.folder = monkeypatch, settings, url, folder
        self.prefix = buckets.variables(url)["S3_PREFIX"]

    def use(self, move: str | None, *, is_bucket: bool = True) -> None:
        if is_bucket:
            options = {"folder": self.folder, "move": move, "S3_PREFIX": self.prefix}
            buckets.use_bucket(self.monkeypatch, self.settings, self.url, **options)
        else:
            use_directory(self.monkeypatch, self.settings, self.folder)
        self.settings.S3_MOVE = move or ""


@pytest.fixture
def house(moto: Moto, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> House:
    settings.CLASSIFIERS = []
    return House(monkeypatch, settings, moto.url, tmp_path / "assets")


def move() -> str:
    out = io.StringIO()
    call_command("move_assets", stdout=out)
    return out.getvalue()


def view(browser: Client, asset: Asset) -> bytes:
    answer = browser.get(asset.file_url)
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content)


def test_images_move_to_the_bucket_and_back_with_none_missing_at_any_step(
    house: House, make_asset: MakeAsset, client_of: Callable[[User], Client], moderator: User
) -> None:
    browser, stored = client_of(moderator), []
    house.use(None, is_bucket=False)
    storage_checks.start_host()
    identity = storage_checks.refresh_report().storage_id

    def step(move: str | None, *, is_bucket: bool = True) -> None:
        """Change the setting, as a restart does; store an image and view all."""
        house.use(move, is_bucket=is_bucket)
        stored.append(make_asset())
        for asset in stored:
            assert len(view(browser, asset)) == asset.size
        assert storage_checks.refresh_report().storage_id == identity

    step(None, is_bucket=False)
    step("to-disk")  # so that all processes read both before the first one writes to the bucket
    step("from-disk")
    assert not move().startswith("0 files copied")
    assert move().startswith("0 files copied")
    step("from-disk")
    step(None)
    call_command("verify_assets", stdout=io.StringIO())
    step("from-disk")
    step("to-disk")
    move()
    step("to-disk")
    step(None, is_bucket=False)
    call_command("verify_assets", stdout=io.StringIO())
    assert {name.partition("/")[0] for name in list_stored()} >= {"renditions", "thumbnails"}


@pytest.mark.django_db(transaction=True)
def test_images_are_stored_and_viewed_while_files_are_copied(
    house: House,
    make_asset: MakeAsset,
    client_of: Callable[[User], Client],
    moderator: User,
) -> None:
    house.use(None, is_bucket=False)
    stored = [make_asset(picture(100 + number)) for number in range(12)]
    house.use("from-disk")
    files = storages["assets"]
    assert isinstance(files, MovingStorage)
    errors: list[Exception] = []

    def copy() -> None:
        try:
            moving.copy_identity(files)
            assert not any(moving.copy_files(files, moving.Progress()))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    browser = client_of(moderator)
    while thread.is_alive() or len(stored) < 15:
        if len(stored) < 30:
            stored.append(make_asset(picture(100 + len(stored))))
        for asset in stored:
            assert len(view(browser, asset)) == asset.size
    thread.join()

    assert errors == []
    house.use(None)  # the bucket alone
    for asset in stored:
        assert len(view(browser, asset)) == asset.size
        assert len(read_stored(asset.thumbnail.name)) > 0


def test_stopped_move_continues_where_it_was(
    house: House, make_asset: MakeAsset, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.use(None, is_bucket=False)
    for _ in range(4):
        make_asset()
    with FaultyProxy(moto.port) as proxy:
        house.url = proxy.url
        house.use("from-disk")
        real, calls = moving._copy_file, []

        def fail_late(files: MovingStorage, file: StoredFile) -> moving.Outcome:
            calls.append(file)
            if len(calls) > 5:
                proxy.fault = "refused"
            return real(files, file)

        monkeypatch.setattr(moving, "_copy_file", fail_late)
        with pytest.raises(CommandError, match=r"the same command continues.*refuses"):
            move()
        monkeypatch.setattr(moving, "_copy_file", real)
        proxy.fault = ""

        first = move()
        assert not first.startswith("0 files copied")
        assert move().startswith("0 files copied")


def test_damaged_file_is_not_copied_and_named(house: House, make_asset: MakeAsset) -> None:
    house.use(None, is_bucket=False)
    asset = make_asset()
    name = str(asset.rendition.name)
    (house.folder / name).write_bytes(b"damaged")
    house.use("from-disk")

    with pytest.raises(CommandError, match=f"Altered, not copied: {name}"):
        move()
    house.use(None)
    assert not get_asset_storage().exists(name)


def test_file_that_is_deleted_during_its_copy_stays_deleted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.use("from-disk")
    files = storages["assets"]
    assert isinstance(files, MovingStorage)
    files.source.save(NAME, ContentFile(b"x"))
    real = files.target.save

    def save(name: str, content: Any, **options: Any) -> str:
        files.delete(NAME)
        return real(name, content, **options)

    monkeypatch.setattr(files.target, "save", save)
    monkeypatch.setattr(moving, "_is_as_named", lambda name, content: True)
    (file,) = files.source.iter_files("renditions")

    assert moving._copy_file(files, file) is moving.Outcome.DELETED
    assert not files.exists(NAME)


def test_target_of_another_installation_is_refused(house: House) -> None:
    house.use("from-disk")
    files = storages["assets"]
    assert isinstance(files, MovingStorage)
    for side, identity in ((files.source, "a" * 32), (files.target, "b" * 32)):
        side.save(storage_checks.IDENTITY, ContentFile(identity.encode()))

    with pytest.raises(CommandError, match="another installation"):
        move()


def test_command_without_the_setting_says_what_to_do(house: House) -> None:
    house.use(None)
    with pytest.raises(CommandError, match="S3_MOVE is not set"):
        move()

"""The check of stored files and its repairs, in a directory and in a bucket."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from generation.core.storage import (
    asset_name,
    blurred_name,
    get_asset_storage,
    original_file_name,
    view_name,
)
from generation.models import Asset
from generation.services import blurring
from tests import buckets
from tests.buckets import Moto
from tests.moderation.test_originals import store
from tests.stored import list_stored, read_stored, replace_stored, use_directory

pytestmark = pytest.mark.django_db
STRAY = "0" * 64


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(autouse=True, params=["directory", "bucket"])
def _storage(
    request: pytest.FixtureRequest,
    moto: Moto,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings.CLASSIFIERS = []
    if request.param == "bucket":
        buckets.use_bucket(monkeypatch, settings, moto.url)
    else:
        use_directory(monkeypatch, settings, tmp_path)


def verify(*options: str, code: int = 0) -> list[str]:
    """Run the command and return its lines; ``code`` is the expected exit code."""
    out = io.StringIO()
    if not code:
        call_command("verify_assets", *options, stdout=out)
        return out.getvalue().splitlines()
    with pytest.raises(CommandError) as caught:
        call_command("verify_assets", *options, stdout=out)
    assert caught.value.returncode == code
    return [*out.getvalue().splitlines(), *str(caught.value).splitlines()]


def flip(content: bytes) -> bytes:
    """Return the content with one bit changed in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_whole_storage_is_verified() -> None:
    asset = store()
    blurring.store_blurred(asset)

    assert verify() == ["7 files verified, 0 without a row."]
    assert verify("--quick") == ["7 files verified, 0 without a row."]


def test_each_altered_byte_and_each_cut_is_found() -> None:
    asset = store()
    rendition, thumbnail = str(asset.rendition.name), str(asset.thumbnail.name)
    view = view_name(asset.original_sha256, "white")
    replace_stored(rendition, flip(read_stored(rendition)))
    replace_stored(thumbnail, read_stored(thumbnail)[:-3])
    replace_stored(view, b"")

    assert sorted(verify(code=1)) == sorted(
        f"Altered: {name}" for name in (rendition, thumbnail, view)
    )
    assert verify("--quick") == ["7 files verified, 0 without a row."]


def test_repair_makes_everything_again_that_follows_from_the_original() -> None:
    asset = store()
    before = {name: read_stored(name) for name in list_stored()}
    for name in before:
        if not name.startswith("originals/"):
            get_asset_storage().delete(name)
    replace_stored(str(asset.rendition.name), flip(before[str(asset.rendition.name)]))

    lines = verify("--repair")

    assert lines[-1] == "7 files verified, 0 without a row, 6 repaired."
    assert f"Altered: {asset.rendition.name} (repaired)" in lines
    assert {name: read_stored(name) for name in list_stored()} == before
    assert verify() == ["7 files verified, 0 without a row."]


def test_what_cannot_be_repaired_is_reported_with_the_reason() -> None:
    asset = store()
    original = original_file_name(asset.original_sha256, "png")
    get_asset_storage().delete(original)
    get_asset_storage().delete(str(asset.rendition.name))

    lines = verify("--repair", code=1)

    reason = f"{original}, which it is made of, is missing or altered"
    assert f"Missing: {asset.rendition.name} (not repaired: {reason})" in lines
    assert any(line.startswith(f"Missing: {original} (not repaired: nothing") for line in lines)


def test_rendition_is_not_replaced_by_another_one() -> None:
    asset = store()
    Asset.objects.filter(pk=asset.pk).update(sha256="a" * 64)
    name = asset_name("a" * 64, "png")
    Asset.objects.filter(pk=asset.pk).update(rendition=name)

    lines = verify("--repair", code=1)

    reason = "the original gives another rendition today than it did then"
    assert f"Missing: {name} (not repaired: {reason})" in lines
    assert not get_asset_storage().exists(name)


def test_orphans_are_deleted_only_after_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    store()
    orphans = [
        asset_name(STRAY, "png"),
        blurred_name(STRAY, "png"),
        view_name(STRAY, "white"),
    ]
    for name in orphans:
        replace_stored(name, b"x")

    assert verify("--delete-orphans", "1")[-1] == "7 files verified, 3 without a row."
    assert len(list_stored()) == 10
    with pytest.raises(CommandError, match="at least 1 hour"):
        verify("--delete-orphans", "0.5")

    age_files(monkeypatch)
    lines = verify("--delete-orphans", "1")
    assert lines[-1] == "7 files verified, 3 without a row, 3 deleted."
    assert len(list_stored()) == 7


def age_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all files seem two hours older."""
    files = get_asset_storage()
    real = files.delete_unused
    monkeypatch.setattr(files, "delete_unused", lambda name, age: real(name, age - 7200))


def test_json_has_a_line_for_each_finding_and_the_totals() -> None:
    asset = store()
    get_asset_storage().delete(str(asset.thumbnail.name))

    lines = [json.loads(line) for line in verify("--json", "--repair")]

    assert lines == [
        {
            "fault": "missing",
            "file": asset.thumbnail.name,
            "asset": str(asset.uuid),
            "done": "repaired",
            "reason": "",
        },
        {"checked": 7, "missing": 1, "altered": 0, "orphaned": 0, "repaired": 1, "deleted": 0},
    ]


def test_failing_storage_is_neither_missing_nor_altered(monkeypatch: pytest.MonkeyPatch) -> None:
    store()

    def fail(name: str, mode: str = "rb") -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(get_asset_storage(), "_open", fail)
    (line,) = verify("--repair", code=2)

    assert line.startswith("Stopped after ")
    assert "input/output error" in line
    monkeypatch.undo()

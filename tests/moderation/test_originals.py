"""Originals: stored beside the rendition, removed after their time, checked against their rows."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from generation import imaging
from generation.models import Asset, Source
from generation.services.storing import Origin, store_rendition
from moderation.models import Review
from moderation.services import originals
from tests.generation.imaging.test_original import DOUBTFUL, FILES
from tests.moderation.test_housekeeping import clean_up
from tests.stored import empty_storage, list_stored, read_stored, replace_stored

pytestmark = pytest.mark.django_db
DAYS = timedelta(days=30)


@pytest.fixture(autouse=True)
def _empty_storage() -> None:
    empty_storage()


def store(name: str = "png-alpha", key: str = "") -> Asset:
    """Store a file as a program would send it."""
    origin = Origin(source=Source.API, external_id=f"{key}{name}")
    return store_rendition(rendition=imaging.render(FILES[name]()), origin=origin)


def decide(asset: Asset, age: timedelta) -> None:
    """Mark the review as rejected at this age."""
    Review.objects.filter(asset=asset).update(
        status=Review.Status.REJECTED, decided_at=timezone.now() - age
    )


def check_files() -> str:
    out = io.StringIO()
    call_command("verify_assets", stdout=out)
    return out.getvalue()


def test_original_is_stored_under_its_own_hash_with_its_views() -> None:
    asset = store()

    content = read_stored(asset.original.name)
    assert hashlib.sha256(content).hexdigest() == asset.original_sha256
    assert (
        asset.original.name == f"originals/{asset.original_sha256[:2]}/{asset.original_sha256}.png"
    )
    assert (asset.original_type, asset.original_size) == ("png", len(content))
    assert (asset.differs, asset.original_problem) == (["alpha"], "")
    assert asset.views == ["checkerboard", "white", "black", "opaque"]
    assert len(list_stored()) == 3 + len(asset.views)
    assert "7 files verified, 0 without a row." in check_files()


def test_file_that_is_not_cleared_is_stored_as_rendition_with_the_reason() -> None:
    make, _ = DOUBTFUL["rows"]
    origin = Origin(source=Source.API, external_id="x")

    asset = store_rendition(rendition=imaging.render(make()), origin=origin)

    assert not asset.original
    assert asset.why_no_original == "The structure of the file is damaged or not fully understood"


def test_setting_never_stores_no_original(settings: Any) -> None:
    settings.ORIGINALS = timedelta(0)

    asset = store()

    assert (asset.original.name, asset.original_problem, asset.views) == ("", "not-kept", [])
    assert asset.differs == ["alpha"]
    assert len(list_stored()) == 2


@pytest.mark.parametrize(
    ("kept", "age", "is_removed"),
    [
        (None, timedelta(days=9999), False),
        (DAYS, timedelta(days=29), False),
        (DAYS, timedelta(days=31), True),
        (timedelta(hours=1), timedelta(minutes=59), False),
        (timedelta(hours=1), timedelta(minutes=61), True),
        (timedelta(0), timedelta(0), True),
    ],
)
def test_original_is_removed_after_its_time(
    settings: Any, kept: timedelta | None, age: timedelta, is_removed: bool
) -> None:
    asset = store()
    decide(asset, age)
    settings.ORIGINALS = kept

    clean_up()

    asset.refresh_from_db()
    assert (asset.original_problem == "removed") == is_removed
    assert (not asset.original) == is_removed
    assert len(list_stored()) == (2 if is_removed else 7)
    assert asset.original_sha256
    check_files()


def test_undecided_image_keeps_its_original(settings: Any) -> None:
    asset = store()
    Asset.objects.update(created_at=timezone.now() - timedelta(days=900))
    settings.ORIGINALS = DAYS

    assert originals.remove_due_originals(10) == 0
    asset.refresh_from_db()
    assert asset.original


def test_shared_file_stays_until_the_last_asset_is_due(settings: Any) -> None:
    first, second = store(key="a"), store(key="b")
    settings.ORIGINALS = DAYS
    decide(first, 2 * DAYS)
    assert originals.remove_due_originals(10) == 1
    assert len(list_stored()) == 7

    decide(second, 2 * DAYS)
    assert originals.remove_due_originals(10) == 1
    assert len(list_stored()) == 2


def test_check_finds_missing_altered_and_orphaned_files() -> None:
    asset = store()
    replace_stored(f"originals/00/{'0' * 64}.png", b"x")
    assert f"Without a row: originals/00/{'0' * 64}.png" in check_files()

    replace_stored(asset.original.name, b"other")
    view = next(name for name in list_stored() if name.endswith(".opaque.webp"))
    storages["assets"].delete(view)
    with pytest.raises(CommandError) as found:
        check_files()
    assert sorted(str(found.value).splitlines()) == [
        f"Altered: {asset.original.name}",
        f"Missing: {view}",
    ]

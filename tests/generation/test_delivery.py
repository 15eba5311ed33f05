"""Delivery of stored images through Loupe, by a presigned URL, or by nginx."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import Asset
from moderation.models import Review
from moderation.services import decisions
from tests import buckets, stored
from tests.buckets import Moto
from tests.moderation.api.test_delivered_blurred import approve_blurred
from tests.moderation.api.test_delivered_forms import HOST, approve, list_asset
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
MakeAsset = Callable[..., Asset]


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture
def bucket(moto: Moto, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CLASSIFIERS = []
    buckets.use_bucket(monkeypatch, settings, moto.url)


@pytest.fixture
def redirected(bucket: None, settings: Any) -> None:
    settings.ASSET_DELIVERY = "redirect"


def follow(answer: Any, method: str = "GET") -> httpx.Response:
    assert answer.status_code == 302
    return httpx.request(method, answer["Location"])


@pytest.mark.usefixtures("redirected")
def test_redirect_leads_to_the_file_with_loupes_headers(
    make_asset: MakeAsset, client_of: ClientOf, moderator: User
) -> None:
    asset = make_asset()
    browser = client_of(moderator)

    answer = browser.get(asset.file_url)
    got = follow(answer)

    assert answer["Cache-Control"] == "private, no-store"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert got.content == stored.read_stored(asset.rendition.name)
    assert got.headers["Content-Type"] == "image/png"
    assert got.headers["Cache-Control"] == "private, no-store"
    assert got.headers["Content-Disposition"] == f'inline; filename="{asset.uuid}.png"'
    assert follow(browser.get(asset.thumbnail_url)).headers["Content-Type"] == "image/webp"
    assert follow(browser.head(asset.file_url), "HEAD").status_code == 200


@pytest.mark.usefixtures("redirected")
def test_redirect_needs_the_permission_and_the_file(
    make_asset: MakeAsset, client_of: ClientOf, moderator: User, integrator: User
) -> None:
    asset = make_asset()
    assert client_of(integrator).get(asset.file_url).status_code == 404
    assert "/login/" in Client().get(asset.file_url)["Location"]

    asset.rendition.storage.delete(asset.rendition.name)
    assert client_of(moderator).get(asset.file_url).status_code == 404


@pytest.mark.usefixtures("redirected")
def test_programs_are_redirected_to_the_form_that_they_may_have(
    make_asset: MakeAsset, moderator: User
) -> None:
    sharp, blurred = make_asset(), make_asset()
    approve(sharp, moderator)
    approve_blurred(blurred, moderator)

    for asset, form in ((sharp, "original"), (blurred, "blurred")):
        url = list_asset(asset)["url"].removeprefix(HOST)
        answer = Client().get(url)
        assert answer["X-Loupe-Delivered"] == form
        assert answer["Cross-Origin-Resource-Policy"] == "cross-origin"
        content = follow(answer).content
        assert (content == stored.read_stored(asset.original.name)) == (form == "original")

        decisions.reverse(
            decision=Review.objects.get(asset=asset).decisions.get(), user=moderator, note="x"
        )
        assert Client().get(url).status_code == 403


def test_nginx_is_told_the_place_in_the_directory(
    make_asset: MakeAsset,
    client_of: ClientOf,
    moderator: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    stored.use_directory(monkeypatch, settings, tmp_path)
    settings.ASSET_DELIVERY = "x-accel"
    asset = make_asset()

    answer = client_of(moderator).get(asset.file_url)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["X-Accel-Redirect"] == f"/internal/assets/{asset.rendition.name}"
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    asset.rendition.storage.delete(asset.rendition.name)
    assert "X-Accel-Redirect" not in client_of(moderator).get(asset.file_url)


@pytest.mark.usefixtures("bucket")
def test_nginx_is_told_a_signed_path_of_the_bucket(
    make_asset: MakeAsset, client_of: ClientOf, moderator: User, settings: Any, moto: Moto
) -> None:
    settings.ASSET_DELIVERY = "x-accel"
    asset = make_asset()

    path = client_of(moderator).get(asset.file_url)["X-Accel-Redirect"]

    assert path.startswith(f"/internal/bucket/{buckets.BUCKET}/")
    got = httpx.get(moto.url + path.removeprefix("/internal/bucket"))
    assert got.content == stored.read_stored(asset.rendition.name)


@pytest.mark.parametrize("delivery", ["redirect", "x-accel"])
@pytest.mark.parametrize("move", ["from-disk", "to-disk"])
def test_images_on_the_move_are_sent_by_loupe(
    make_asset: MakeAsset,
    client_of: ClientOf,
    moderator: User,
    settings: Any,
    moto: Moto,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    delivery: str,
    move: str,
) -> None:
    buckets.use_bucket(monkeypatch, settings, moto.url, folder=tmp_path, move=move)
    settings.ASSET_DELIVERY = delivery
    asset = make_asset()

    answer = client_of(moderator).get(asset.file_url)

    assert answer.status_code == 200
    assert len(b"".join(answer.streaming_content)) == asset.size

from __future__ import annotations

import errno
import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import Asset
from tests.generation.faults import failing_reads

ClientOf = Callable[[User], Client]
EXPECTED = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@pytest.fixture
def asset(make_asset: Callable[..., Asset]) -> Asset:
    return make_asset()


def addresses(asset: Asset) -> list[str]:
    return [asset.file_url, asset.thumbnail_url]


def read(answer: Any) -> bytes:
    """Return the whole content; reading it closes the file."""
    return b"".join(answer.streaming_content)


def test_asset_urls_have_the_documented_paths(asset: Asset) -> None:
    assert addresses(asset) == [f"/assets/{asset.uuid}/file", f"/assets/{asset.uuid}/thumbnail"]


def test_served_file_has_the_hash_of_the_classified_image(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    answer = client_of(moderator).get(asset.file_url)

    content = read(answer)
    assert hashlib.sha256(content).hexdigest() == asset.sha256
    assert len(content) == int(answer["Content-Length"]) == asset.size


def test_asset_responses_have_the_documented_headers(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    for address, image_type in ((asset.file_url, asset.image_type), (asset.thumbnail_url, "webp")):
        for method in ("get", "head"):
            answer = getattr(client_of(moderator), method)(address)
            assert answer.status_code == 200
            assert answer["Content-Type"] == f"image/{image_type}"
            assert answer["Content-Disposition"] == f'inline; filename="{asset.uuid}.{image_type}"'
            assert {name: answer[name] for name in EXPECTED} == EXPECTED
            assert "Expires" not in answer
            read(answer)


def test_original_file_name_is_not_in_the_headers(
    client_of: ClientOf, moderator: User, make_asset: Callable[..., Asset]
) -> None:
    asset = make_asset(original_name='evil".html\r\nX-Evil: 1')

    answer = client_of(moderator).get(asset.file_url)

    assert "evil" not in str(answer.headers)
    read(answer)


def test_unknown_image_type_is_served_as_octet_stream(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    Asset.objects.filter(pk=asset.pk).update(image_type="html")

    answer = client_of(moderator).get(asset.file_url)

    assert answer["Content-Type"] == "application/octet-stream"
    read(answer)


def test_anonymous_request_is_redirected_to_the_log_in(client: Client, asset: Asset) -> None:
    for address in addresses(asset):
        for answer in (client.get(address), client.head(address)):
            assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={address}")


def test_image_returns_404_without_permission(client_of: ClientOf, asset: Asset) -> None:
    browser = client_of(User.objects.create_user("visitor"))

    for address in addresses(asset):
        absent = address.replace(str(asset.uuid), str(uuid.uuid4()))
        assert (browser.get(address).status_code, browser.get(absent).status_code) == (404, 404)


def test_image_is_not_served_after_a_log_out(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    browser = client_of(moderator)
    browser.logout()

    assert browser.get(asset.file_url).status_code == 302


def test_post_to_an_image_returns_405(client_of: ClientOf, moderator: User, asset: Asset) -> None:
    for address in addresses(asset):
        assert client_of(moderator).post(address).status_code == 405


def test_missing_file_returns_404_with_a_message(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    for field, address in (
        (asset.rendition, asset.file_url),
        (asset.thumbnail, asset.thumbnail_url),
    ):
        field.storage.delete(field.name)

        answer = client_of(moderator).get(address)

        assert answer.status_code == 404
        assert b"file is missing" in answer.content
        assert answer["Content-Type"].startswith("text/html")
        assert field.name.encode() not in answer.content


def test_stored_file_returns_503_during_a_storage_outage(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    with failing_reads(errno.EIO):
        answer = client_of(moderator).get(asset.file_url)

    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert b"cannot be read now" in answer.content
    assert read(client_of(moderator).get(asset.file_url))


def test_former_thumbnail_url_redirects(
    client_of: Callable[[User], Client], moderator: User, make_asset: Callable[..., Asset]
) -> None:
    asset = make_asset()

    answer = client_of(moderator).get(f"/assets/{asset.uuid}/preview")

    assert (answer.status_code, answer["Location"]) == (301, asset.thumbnail_url)

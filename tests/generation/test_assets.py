from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import Asset

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
    """The whole of it, which also closes the file."""
    return b"".join(answer.streaming_content)


def test_the_addresses_are_those_of_the_design(asset: Asset) -> None:
    assert addresses(asset) == [f"/assets/{asset.uuid}/file", f"/assets/{asset.uuid}/thumbnail"]


def test_what_is_served_is_what_was_classified(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    answer = client_of(moderator).get(asset.file_url)

    content = read(answer)
    assert hashlib.sha256(content).hexdigest() == asset.sha256
    assert len(content) == int(answer["Content-Length"]) == asset.size


def test_headers_are_exact(client_of: ClientOf, moderator: User, asset: Asset) -> None:
    for address, image_type in ((asset.file_url, asset.image_type), (asset.thumbnail_url, "webp")):
        for method in ("get", "head"):
            answer = getattr(client_of(moderator), method)(address)
            assert answer.status_code == 200
            assert answer["Content-Type"] == f"image/{image_type}"
            assert answer["Content-Disposition"] == f'inline; filename="{asset.uuid}.{image_type}"'
            assert {name: answer[name] for name in EXPECTED} == EXPECTED
            assert "Expires" not in answer
            read(answer)


def test_the_name_somebody_gave_is_not_repeated(
    client_of: ClientOf, moderator: User, make_asset: Callable[..., Asset]
) -> None:
    asset = make_asset(original_name='evil".html\r\nX-Evil: 1')

    answer = client_of(moderator).get(asset.file_url)

    assert "evil" not in str(answer.headers)
    read(answer)


def test_an_odd_type_is_never_served_as_a_page(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    Asset.objects.filter(pk=asset.pk).update(image_type="html")

    answer = client_of(moderator).get(asset.file_url)

    assert answer["Content-Type"] == "application/octet-stream"
    read(answer)


def test_anonymous_people_are_sent_to_the_log_in(client: Client, asset: Asset) -> None:
    for address in addresses(asset):
        for answer in (client.get(address), client.head(address)):
            assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={address}")


def test_without_permission_there_is_no_such_image(client_of: ClientOf, asset: Asset) -> None:
    browser = client_of(User.objects.create_user("visitor"))

    for address in addresses(asset):
        absent = address.replace(str(asset.uuid), str(uuid.uuid4()))
        assert (browser.get(address).status_code, browser.get(absent).status_code) == (404, 404)


def test_after_the_log_out_nothing_is_served(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    browser = client_of(moderator)
    browser.logout()

    assert browser.get(asset.file_url).status_code == 302


def test_only_get_and_head_are_answered(client_of: ClientOf, moderator: User, asset: Asset) -> None:
    for address in addresses(asset):
        assert client_of(moderator).post(address).status_code == 405


def test_a_file_that_is_gone_is_a_404_with_a_sentence(
    client_of: ClientOf, moderator: User, asset: Asset
) -> None:
    for field, address in (
        (asset.rendition, asset.file_url),
        (asset.thumbnail, asset.thumbnail_url),
    ):
        Path(field.path).unlink()

        answer = client_of(moderator).get(address)

        assert answer.status_code == 404
        assert b"file is missing" in answer.content
        assert answer["Content-Type"].startswith("text/html")
        assert field.path.encode() not in answer.content


def test_the_former_address_of_a_thumbnail_redirects(
    client_of: Callable[[User], Client], moderator: User, make_asset: Callable[..., Asset]
) -> None:
    asset = make_asset()

    answer = client_of(moderator).get(f"/assets/{asset.uuid}/preview")

    assert (answer.status_code, answer["Location"]) == (301, asset.thumbnail_url)

"""Search by an uploaded image or by a perceptual hash."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from generation import imaging
from generation.models import Asset, image_search
from tests.conftest import picture
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.search_factories import get_search_page, list_result_ids, read_text, short_ids

pytestmark = pytest.mark.usefixtures("empty_search_cache")


@pytest.fixture
def client(client_of: ClientOf, moderator: User) -> Client:
    return client_of(moderator)


def test_perceptual_hash_finds_similar_images_nearest_first(
    client: Client, make_review: MakeReview
) -> None:
    near, far, wide, other = (make_review() for _ in range(4))
    pdq = bytes(other.asset.pdq)
    for review, bits in ((near, 3), (far, 15), (wide, 31)):
        put_hash(review.asset, flipped(pdq, bits))

    assert list_result_ids(get_search_page(client, pdq.hex())) == short_ids(other, near, far)
    response = get_search_page(client, pdq.hex(), wide="on")
    assert list_result_ids(response) == short_ids(other, near, far, wide)
    assert "31 of 256 bits apart" in read_text(response)


@pytest.mark.django_db
def test_nearest_finds_close_hashes_and_ignores_single_shared_bands(
    make_review: MakeReview,
) -> None:
    close, beyond, chance = (make_review() for _ in range(3))
    pdq = bytes(range(1, 33))
    for review, bits in ((close, image_search.CLOSE), (beyond, image_search.CLOSE + 1)):
        put_hash(review.asset, flipped(pdq, bits))
    put_hash(chance.asset, pdq[:2] + bytes(byte ^ 255 for byte in pdq[2:]))

    assert image_search.find_nearest(pdq, within=image_search.CLOSE) == [
        (close.asset.pk, image_search.CLOSE)
    ]
    assert image_search._find_sharing(image_search.split_bands(pdq), at_least=2) == [close.asset.pk]


def flipped(pdq: bytes, bits: int) -> bytes:
    """Return a hash that differs in this number of bits.

    The changed bits are spread evenly over all bands, which is the hardest case for the index.
    """
    number = int.from_bytes(pdq, "big")
    for bit in range(bits):
        number ^= 1 << (bit % 16 * 16 + bit // 16 * 5)
    return number.to_bytes(32, "big")


def put_hash(asset: Asset, pdq: bytes) -> None:
    Asset.objects.filter(pk=asset.pk).update(pdq=pdq)
    asset.bands.all().delete()
    asset.refresh_from_db()
    image_search.HashBand.store(asset)


# --- By uploaded image ---


def send(client: Client, content: bytes, name: str = "picture.png") -> Any:
    return client.post("/search/", {"image": SimpleUploadedFile(name, content)})


def test_uploaded_image_finds_identical_and_similar_images(
    client: Client, make_review: MakeReview
) -> None:
    review = make_review(content=picture(7))
    make_review(content=picture(8))
    assets = Asset.objects.count()

    exact = send(client, picture(7))
    alike = send(client, picture(7, image_format="JPEG"))

    assert exact.status_code == alike.status_code == 303
    shown = client.get(exact["Location"])
    assert list_result_ids(shown) == short_ids(review)
    assert "The same picture" in read_text(shown)
    shown = client.get(alike["Location"])
    assert list_result_ids(shown) == short_ids(review)
    assert "Looks alike" in read_text(shown)
    assert Asset.objects.count() == assets


def test_unknown_uploaded_image_finds_nothing(client: Client, make_review: MakeReview) -> None:
    make_review(content=picture(8))

    shown = client.get(send(client, picture(7))["Location"])

    assert "No identical or similar image" in read_text(shown)
    assert "Search wider" in read_text(shown)


def test_uniform_image_is_found_only_by_identical_content(
    client: Client, make_review: MakeReview
) -> None:
    def plain(colour: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (64, 64), (colour, 90, 90)).save(file, "PNG")
        return file.getvalue()

    review = make_review(content=plain(10))
    make_review(content=plain(11))

    shown = client.get(send(client, plain(10))["Location"])

    assert list_result_ids(shown) == short_ids(review)
    assert "too little detail" in read_text(shown)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "empty"), (b"not a picture", "image"), (b"\x89PNG\r\n\x1a\n" + b"x" * 100, "")],
)
def test_upload_of_invalid_image_returns_422_with_message(
    client: Client, content: bytes, sentence: str
) -> None:
    response = send(client, content)

    assert response.status_code == 422
    assert response.context["refusal"].endswith(".")
    assert sentence in response.context["refusal"]
    assert 'role="alert"' in response.content.decode()


def test_too_large_upload_returns_422_and_is_not_written_to_disk(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_file(*_arguments: Any, **_named: Any) -> None:
        raise AssertionError("an upload was written to the disk")

    monkeypatch.setattr(
        "django.core.files.uploadedfile.tempfile.NamedTemporaryFile", no_file, raising=False
    )
    monkeypatch.setattr("django.core.files.temp.NamedTemporaryFile", no_file)

    response = send(client, b"\x89PNG\r\n\x1a\n" + bytes(imaging.MAX_BYTES))

    assert response.status_code == 422
    assert "larger than 20 MiB" in read_text(response)


def test_search_without_file_or_decoder_shows_message(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Choose a picture first." in read_text(client.post("/search/"))

    def unavailable(_content: bytes) -> None:
        raise imaging.DecoderUnavailableError("All image decoders are busy.")

    monkeypatch.setattr(imaging, "render", unavailable)
    response = send(client, picture(1))
    assert response.status_code == 503
    assert "Try again in a minute." in read_text(response)


def test_image_upload_without_csrf_token_returns_403(moderator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(moderator)

    assert send(client, picture(1)).status_code == 403
    token = client.get("/search/").context["csrf_token"]
    file = SimpleUploadedFile("picture.png", picture(1))
    assert (
        client.post("/search/", {"image": file, "csrfmiddlewaretoken": str(token)}).status_code
        == 303
    )


def test_filters_narrow_search_by_image(client: Client, make_review: MakeReview) -> None:
    review = make_review(content=picture(7))
    address = send(client, picture(7))["Location"]

    assert list_result_ids(client.get(address + "&status=pending")) == short_ids(review)
    assert list_result_ids(client.get(address + "&status=approved")) == []
    assert (
        list_result_ids(
            client.get(
                address + "&start=" + (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
            )
        )
        == []
    )

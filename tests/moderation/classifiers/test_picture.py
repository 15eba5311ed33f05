"""The picture that the classifiers of one turn share."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

import moderation.tasks
from generation.core.storage import get_asset_storage
from generation.models import Asset
from moderation import classifiers
from moderation.classifiers.base import Assessment, ClassifierError
from moderation.classifiers.picture import Picture
from moderation.models import Classification
from tests.generation.imaging.pictures import encoded, opened, picture


class Reader:
    """A classifier that notes the picture's width and hash, and finds nothing."""

    version, trusted_when_silent = "1", False

    def __init__(self, slug: str) -> None:
        self.slug = self.label = slug

    def applies_to(self, asset: Asset) -> bool:
        return True

    def assess(self, picture: Picture) -> Assessment:
        return Assessment(raw={"sha256": picture.sha256, "width": picture.decode(64).size[0]})


def make_one() -> Reader:
    return Reader("one")


def make_two() -> Reader:
    return Reader("two")


@pytest.fixture
def _two_readers(settings: Any) -> Any:
    settings.CLASSIFIER_BACKENDS = {
        "one": f"{__name__}.make_one",
        "two": f"{__name__}.make_two",
    }
    settings.CLASSIFIERS = ["one", "two"]
    classifiers.get.cache_clear()
    yield
    classifiers.get.cache_clear()


@pytest.mark.usefixtures("_two_readers")
def test_classifiers_of_one_asset_read_and_decode_its_file_once(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = [make_asset(), make_asset()]
    read: list[str] = []
    decoded: list[Any] = []
    storage = type(get_asset_storage())  # a directory, or a bucket
    open_, convert = storage._open, Image.Image.convert

    def note_file(self: Any, name: str, mode: str = "rb") -> Any:
        read.append(name)
        return open_(self, name, mode)

    def note_image(self: Any, *arguments: Any, **named: Any) -> Any:
        decoded.append(self)
        return convert(self, *arguments, **named)

    monkeypatch.setattr(storage, "_open", note_file)
    monkeypatch.setattr(Image.Image, "convert", note_image)
    moderation.tasks.classify()

    assert sorted(read) == sorted(asset.rendition.name for asset in assets)
    assert len(decoded) == 2
    rows = Classification.objects.values_list("asset__sha256", "status", "raw__sha256")
    assert len(rows) == 4
    assert all(status == "done" and known == seen for known, status, seen in rows)


@pytest.mark.usefixtures("_two_readers")
def test_unreadable_file_fails_each_classification_of_the_asset(make_asset: Any) -> None:
    asset = make_asset()
    asset.rendition.storage.delete(asset.rendition.name)
    moderation.tasks.classify()
    rows = Classification.objects.filter(asset=asset)
    assert {(row.status, row.error) for row in rows} == {("failed", "The stored image is missing.")}


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [
        ((1024, 1024), 0, (1024, 1024)),
        ((1024, 1024), 512, (512, 512)),
        ((1024, 1024), 300, (512, 512)),
        ((1024, 1024), 256, (256, 256)),
        ((1023, 1024), 512, (1023, 1024)),  # a half would be shorter
        ((2050, 1030), 512, (1025, 515)),
        ((200, 100), 512, (200, 100)),
    ],
)
def test_jpeg_is_decoded_no_smaller_than_wanted(
    size: tuple[int, int], at_least: int, expected: tuple[int, int]
) -> None:
    content = encoded(picture(*size), "JPEG", quality=95)
    assert Picture.from_content(content).decode(at_least).size == expected


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_other_formats_are_decoded_at_full_size(file_format: str) -> None:
    made = Picture.from_content(encoded(picture(640, 320), file_format))
    assert made.decode(64) is made.decode()
    assert made.decode().size == made.size == (640, 320)


def test_jpeg_is_decoded_once_for_each_size() -> None:
    made = Picture.from_content(encoded(picture(1024, 1024), "JPEG"))
    assert made.decode(512) is made.decode(300)
    assert made.decode() is not made.decode(512)
    assert made.decode(512).mode == "RGB"


def test_scaled_pixels_are_those_of_pillow_and_shared() -> None:
    image = picture(640, 320)
    made = Picture.from_content(encoded(image, "PNG"))
    fitted = made.fit(256)
    assert fitted.shape == (128, 256, 3)
    assert (fitted == np.asarray(image.resize((256, 128), Image.Resampling.BILINEAR))).all()
    assert made.fit(256) is fitted is made.scale((256, 128))
    with pytest.raises(ValueError, match="read-only"):
        fitted[0, 0, 0] = 1


def test_scaling_a_drafted_jpeg_hardly_differs_from_the_whole() -> None:
    content = encoded(picture(1024, 1024), "JPEG", quality=95)
    drafted = Picture.from_content(content).scale((256, 256), at_least=512)
    whole = Picture.from_content(encoded(opened(content), "PNG")).scale((256, 256))
    assert np.abs(drafted.astype(int) - whole).mean() < 1


def test_extreme_shapes_keep_at_least_one_pixel() -> None:
    made = Picture.from_content(encoded(Image.new("RGB", (900, 1)), "PNG"))
    assert made.fit(100).shape == (1, 100, 3)


def test_hash_is_that_of_the_file() -> None:
    content = encoded(picture(), "PNG")
    assert Picture.from_content(content).sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", encoded(picture(), "JPEG")[:200]]
)
def test_undecodable_file_raises_classifier_error(content: bytes) -> None:
    with pytest.raises(ClassifierError, match="could not be decoded") as caught:
        Picture.from_content(content).decode()
    assert not caught.value.retryable


def test_exhausted_memory_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *arguments: Any, **named: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(ClassifierError) as caught:
        Picture.from_content(encoded(picture(), "PNG")).decode()
    assert caught.value.retryable


def test_failed_read_is_tried_again_by_the_next_classifier() -> None:
    answers = iter([ClassifierError("The stored image could not be read."), b"content"])

    def read() -> bytes:
        answer = next(answers)
        if isinstance(answer, ClassifierError):
            raise answer
        return answer

    made = Picture(read)
    with pytest.raises(ClassifierError, match="could not be read"):
        made.content  # noqa: B018  # reading is what is tested
    assert made.content == b"content"

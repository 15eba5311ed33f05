from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from generation.sandbox import marker
from generation.sandbox.cards import CARDS

SIZES = [(128, 128), (128, 2048), (2048, 128), (512, 512), (513, 777), (1024, 640)]
LABELS = [("violence.weapons", 93), ("gambling", 0), ("hate-symbols.extremist", 100)]
ENCODINGS = [("PNG", 0), ("JPEG", 75), ("JPEG", 60), ("WEBP", 75), ("WEBP", 50)]


def noise(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def recoded(image: Image.Image, name: str, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, name, **({"quality": quality} if quality else {}))
    return Image.open(buffer)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ground", ["black", "white", "noise", "#c03020"])
def test_labels_survive_every_encoding_at_every_size(size: tuple[int, int], ground: str) -> None:
    image = noise(size) if ground == "noise" else Image.new("RGB", size, ground)
    marker.draw_marker(image, LABELS)
    assert [marker.read_marker(recoded(image, *encoding)) for encoding in ENCODINGS] == [
        LABELS
    ] * len(ENCODINGS)


def test_marker_without_labels_reads_as_an_empty_list() -> None:
    image = Image.new("RGB", (512, 512), "navy")
    marker.draw_marker(image, [])
    assert marker.read_marker(image) == []


def test_marker_is_readable_at_half_the_size() -> None:
    image = noise((1024, 1024))
    marker.draw_marker(image, LABELS)
    assert marker.read_marker(image.resize((512, 512), Image.Resampling.LANCZOS)) == LABELS


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([card.slug for card in CARDS]), st.integers(0, 100)), max_size=3
    ),
    st.integers(128, 600),
    st.integers(128, 600),
)
def test_drawn_labels_are_read_back(labels: list[tuple[str, int]], width: int, height: int) -> None:
    image = Image.new("RGB", (width, height), "teal")
    marker.draw_marker(image, labels)
    assert marker.read_marker(recoded(image, "JPEG", 75)) == labels


def test_image_without_a_marker_reads_as_none() -> None:
    others = [
        Image.new("RGB", (64, 64)),
        Image.new("L", (1, 1)),
        Image.new("RGBA", (300, 2)),
        noise((512, 512)),
    ]
    assert [marker.read_marker(image) for image in others] == [None] * 4


def test_damaged_marker_reads_as_none() -> None:
    image = Image.new("RGB", (512, 512), "teal")
    marker.draw_marker(image, LABELS)
    image.paste((0, 0, 0), (240, 500, 320, 512))
    assert marker.read_marker(image) is None


@pytest.mark.parametrize("labels", [[("gambling", 101)], [("gambling", -1)], [("gambling", 1)] * 4])
def test_labels_that_do_not_fit_are_refused(labels: list[tuple[str, int]]) -> None:
    with pytest.raises(ValueError, match=r"confidence|categories"):
        marker.draw_marker(Image.new("RGB", (128, 128)), labels)

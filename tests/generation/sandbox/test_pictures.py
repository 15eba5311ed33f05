from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generation.sandbox import backgrounds, glyphs, marker, pictures
from generation.sandbox.cards import (
    BY_SLUG,
    CARDS,
    WORDS,
    compute_novita_confidence,
    labels_on_image,
    parse_steering,
)
from generation.wire.txt2img import Request
from moderation import taxonomy


def request(prompt: str = "misty mountains", **others: Any) -> Request:
    values: dict[str, Any] = {
        "model_name": "m",
        "prompt": prompt,
        "width": 192,
        "height": 160,
        "image_num": 1,
        "steps": 20,
        "guidance_scale": 7,
        "sampler_name": "Euler a",
    }
    return Request(**(values | others))


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("image_type", ["png", "jpeg", "webp"])
def test_same_seed_and_parameters_give_the_same_bytes(image_type: str) -> None:
    first, second = (pictures.render_picture(request(), 7, 0, image_type) for _ in range(2))
    assert first == second
    assert opened(first).format == image_type.upper()


def test_other_seed_position_or_parameter_gives_another_image() -> None:
    different = [
        pictures.render_picture(request(), 7, 0, "png"),
        pictures.render_picture(request(), 8, 0, "png"),
        pictures.render_picture(request(), 7, 1, "png"),
        pictures.render_picture(request(steps=21), 7, 0, "png"),
        pictures.render_picture(request("misty mountains, red"), 7, 0, "png"),
    ]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize("size", [(128, 128), (2048, 128), (128, 2048), (131, 257)])
@pytest.mark.parametrize("name", backgrounds.BACKGROUNDS)
def test_every_background_can_be_painted_at_every_size(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        backgrounds, "choose_background", lambda prompt, seed: backgrounds.BACKGROUNDS[name]
    )
    image = pictures.paint_picture(request(width=size[0], height=size[1]), 3, 0)
    assert image.size == size
    assert marker.read_marker(image) == []


@pytest.mark.parametrize("name", backgrounds.BACKGROUNDS)
def test_prompt_word_chooses_its_background(name: str) -> None:
    word = backgrounds.WORDS[name].split()[0]
    assert (
        backgrounds.choose_background(f"A {word.title()}, at dawn", 0)
        is backgrounds.BACKGROUNDS[name]
    )


def test_seed_chooses_the_background_without_a_known_word() -> None:
    assert {backgrounds.choose_background("something else", seed) for seed in range(13)} == set(
        backgrounds.BACKGROUNDS.values()
    )


@pytest.mark.parametrize("size", [(128, 128), (128, 400), (400, 128)])
@pytest.mark.parametrize("slug", BY_SLUG)
def test_every_category_has_a_card_that_the_marker_names(slug: str, size: tuple[int, int]) -> None:
    image = pictures.paint_picture(
        request(f"a still life sandbox:{slug}@61", width=size[0], height=size[1]), 1, 0
    )
    assert marker.read_marker(image) == [(slug, 61)]


def test_cards_match_the_taxonomy() -> None:
    assert {card.slug for card in CARDS} == set(taxonomy.CATEGORIES)
    assert len({card.slug for card in CARDS}) == len(CARDS)


@pytest.mark.parametrize("level", taxonomy.LEVELS)
def test_novita_detection_covers_the_categories_of_the_taxonomy(level: int) -> None:
    seen = {card.slug for card in CARDS if compute_novita_confidence(((card.slug, 50),), level)}
    named = set(taxonomy.list_level_categories(level))
    assert named <= seen
    assert {taxonomy.get(slug).l1 for slug in seen} == {taxonomy.get(slug).l1 for slug in named}


@pytest.mark.parametrize("name", sorted({card.glyph for card in CARDS}))
def test_every_card_has_a_glyph(name: str) -> None:
    assert glyphs.draw_glyph(name, 24).getextrema() == (0, 255)


def test_words_are_matched_as_whole_words_in_any_case() -> None:
    assert parse_steering("A Revolver on the table").labels == (("violence.weapons", 94),)
    assert parse_steering("swordfish, unwinescreened").labels == ()
    assert all(slug in BY_SLUG for slug, _ in WORDS.values())


def test_named_categories_come_first_and_at_most_three_are_used() -> None:
    steering = parse_steering(
        "whisky in a casino, sandbox:violence.weapons@12, sandbox:alcohol.use. sandbox:slow"
    )
    assert steering.labels == (
        ("violence.weapons", 12),
        ("alcohol.use", 92),
        ("alcohol.beverages", 91),
    )
    assert steering.behaviours == {"slow"}


def test_word_clean_disables_everyday_words_only() -> None:
    assert parse_steering("a revolver, sandbox:clean").labels == ()
    assert parse_steering("a revolver, sandbox:clean sandbox:alcohol").labels == (("alcohol", 92),)


def test_later_images_of_a_task_have_lower_confidence() -> None:
    labels = (("alcohol", 20), ("gambling", 0))
    assert [labels_on_image(labels, position) for position in (0, 1, 7)] == [
        labels,
        (("alcohol", 14), ("gambling", 0)),
        (("alcohol", 1), ("gambling", 0)),
    ]


def test_documentation_lists_every_word_and_category() -> None:
    text = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()
    assert [slug for slug in BY_SLUG if f"`{slug}`" not in text] == []
    for word, (slug, percent) in WORDS.items():
        rows = [line for line in text.splitlines() if line.startswith(f"| `{slug}` |")]
        assert any(f"{word} {percent}" in row for row in rows), word

"""Search by words: the images whose embeddings are the nearest to a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from moderation.classifiers import encoders
from moderation.classifiers.vision import installed
from moderation.classifiers.vision.encoder import VisionEncoder
from moderation.classifiers.vision.installed import InstalledModel
from moderation.models import Embedding, Review
from moderation.search.query import Query, QueryError, Term, parse
from moderation.services import vision_models
from tests.moderation.classifiers.vision.conftest import CONSENT
from tests.moderation.classifiers.vision.toy import write_model
from tests.moderation.encoder_helpers import use_mean_colour
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.search_factories import (
    get_search_page,
    list_result_ids,
    read_text,
    short_ids,
)

pytestmark = pytest.mark.usefixtures("empty_search_cache")
RED, WHITE, BLUE = (1, -1, -1), (1, 1, 1), (-1, -1, 1)


@pytest.fixture(autouse=True)
def model(settings: Any, tmp_path: Path) -> InstalledModel:
    settings.DATA_DIR = tmp_path / "data"
    settings.VISION_MODEL, settings.ENCODER = "toy", "vision"
    return vision_models.add(write_model(tmp_path / "toy"), consent=CONSENT)


@pytest.fixture
def client(client_of: ClientOf, moderator: User) -> Client:
    return client_of(moderator)


def make_colours(make_review: MakeReview, *colours: tuple[int, int, int]) -> list[Review]:
    reviews = [make_review() for _ in colours]
    for review, colour in zip(reviews, colours, strict=True):
        vector = encoders.compute(VisionEncoder(), lambda colour=colour: colour)
        Embedding.objects.update_or_create(
            asset=review.asset,
            encoder_version=VisionEncoder().version,
            defaults={
                "vector": encoders.pack(vector),
                "finished_at": timezone.now(),
                "due_at": None,
            },
        )
    return reviews


# --- Text ---


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ('looks:"red car"', "red car"),
        ("looks:“red  car”", "red car"),
        ('LOOKS:"red car', "red car"),
        ('looks: "red car"', "red car"),
        ("looks:red", "red"),
    ],
)
def test_looks_are_read(text: str, looks: str) -> None:
    assert parse(text) == Query(looks=looks)


def test_looks_stand_beside_other_words() -> None:
    query = parse('harbour looks:"red car" -night')
    assert query.looks == "red car"
    assert query.terms == (
        Term(words=("harbour",)),
        Term(words=("night",), is_excluded=True),
    )


def test_word_that_ends_in_looks_is_a_word() -> None:
    assert parse("outlooks:red").looks == ""


@pytest.mark.parametrize(
    "text", ["looks:", 'looks:""', 'looks:"!?"', "looks: red", "looks:a looks:b"]
)
def test_unclear_looks_are_refused(text: str) -> None:
    with pytest.raises(QueryError, match='looks:"red car"'):
        parse(text)


# --- Page ---


def test_nearest_images_come_first(client: Client, make_review: MakeReview) -> None:
    blue, red, white = make_colours(make_review, BLUE, RED, WHITE)
    for looks, nearest in (("red", red), ("blue", blue), ("white", white)):
        response = get_search_page(client, f'looks:"{looks} picture"')
        assert list_result_ids(response)[0] == nearest.asset.short_id
        assert len(list_result_ids(response)) == 3
        text = read_text(response)
        assert f"Images that look like {looks} picture" in text
        assert "%" not in text
        assert "Remove the picture" not in text


def test_filters_narrow_the_results(client: Client, make_review: MakeReview) -> None:
    blue, _red = make_colours(make_review, BLUE, RED)
    Review.objects.filter(pk=blue.pk).update(status="approved", decided_at=timezone.now())
    response = get_search_page(client, "looks:red", status="approved")
    assert list_result_ids(response) == short_ids(blue)
    assert "most similar are filtered" in read_text(response)
    none = get_search_page(client, "looks:red castle")
    assert "None of the most similar images matches" in read_text(none)


def test_no_embedded_image_gives_no_result(client: Client) -> None:
    assert "No image has been embedded yet." in read_text(get_search_page(client, "looks:red"))


def test_text_is_encoded_once(
    client: Client, make_review: MakeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_colours(make_review, RED)
    calls: list[list[str]] = []
    encode_texts = InstalledModel.encode_texts

    def count(self: InstalledModel, texts: list[str]) -> Any:
        calls.append(texts)
        return encode_texts(self, texts)

    monkeypatch.setattr(InstalledModel, "encode_texts", count)
    installed._encode_words.cache_clear()
    for _ in range(2):
        get_search_page(client, "looks:red")
    assert calls == [["red"]]


def test_encoder_without_words_says_what_is_missing(client: Client, settings: Any) -> None:
    use_mean_colour(settings)
    text = read_text(get_search_page(client, "looks:red"))
    assert "needs an image-text model as the encoder (ENCODER)" in text
    encoders.get.cache_clear()


def test_damaged_model_gives_a_message(client: Client, model: InstalledModel) -> None:
    (model.folder / "textual/model.onnx").write_bytes(b"damaged")
    installed._encode_words.cache_clear()
    text = read_text(get_search_page(client, "looks:red"))
    assert "has changed since it was installed" in text


def test_looks_and_a_picture_together_are_refused(client: Client) -> None:
    response = get_search_page(client, "looks:red", like="0" * 64)
    assert response.status_code == 422
    assert "Remove one of them" in read_text(response)


def test_help_names_looks_only_if_the_encoder_reads_words(client: Client, settings: Any) -> None:
    assert "looks:" in read_text(client.get("/search/"))
    settings.ENCODER = ""
    assert "looks:" not in read_text(client.get("/search/"))

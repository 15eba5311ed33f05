"""Search by likeness: the images whose embeddings are the most similar to that of an image."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from generation.services.purging import Extent
from moderation.classifiers import encoders
from moderation.models import Embedding, Review
from moderation.search import likeness
from moderation.services import retention
from tests.moderation.encoder_helpers import use_mean_colour
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.search_factories import list_result_ids, read_text, short_ids
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.usefixtures("empty_search_cache")
RED, ORANGE, BROWN, BLUE = (1, 0, 0), (0.9, 0.3, 0), (0.6, 0.5, 0.3), (0, 0.2, 1)


@pytest.fixture(autouse=True)
def _encoder(settings: Any, tmp_path: Path) -> Any:
    settings.DATA_DIR = tmp_path
    use_mean_colour(settings)
    yield
    encoders.get.cache_clear()


@pytest.fixture
def client(client_of: ClientOf, moderator: User) -> Client:
    return client_of(moderator)


def embed(review: Review, colour: Sequence[float], **fields: Any) -> None:
    vector = np.array(colour, np.float32)
    values = {
        "vector": encoders.pack(vector / np.linalg.norm(vector)),
        "finished_at": timezone.now(),
        "due_at": None,
        **fields,
    }
    Embedding.objects.update_or_create(
        asset=review.asset, encoder_version="colour-1", defaults=values
    )


def make_colours(make_review: MakeReview, *colours: Sequence[float]) -> list[Review]:
    reviews = [make_review() for _ in colours]
    for review, colour in zip(reviews, colours, strict=True):
        embed(review, colour)
    return reviews


def search(client: Client, review: Review, **more: str) -> Any:
    return client.get("/search/", {"like": str(review.asset.uuid), **more})


def test_most_similar_images_come_first(client: Client, make_review: MakeReview) -> None:
    blue, red, brown, orange = make_colours(make_review, BLUE, RED, BROWN, ORANGE)

    response = search(client, red)

    assert list_result_ids(response) == short_ids(orange, brown, blue)
    text = read_text(response)
    assert "Similar 95 %" in text
    assert "Similar 0 %" in text
    assert "Not all images" not in text


def test_order_equals_exact_cosines_over_many_blocks(
    make_review: MakeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "BLOCK", 3)
    monkeypatch.setattr(likeness, "CHUNK", 4)
    colours = np.random.default_rng(2).random((14, 3))
    first, *others = make_colours(make_review, *colours)
    lengths = np.linalg.norm(colours, axis=1)
    cosines = colours[1:] @ colours[0] / lengths[1:] / lengths[0]
    expected = [others[index].asset.pk for index in np.argsort(-cosines)]

    found = likeness.find_alike(first.asset, since=0, before=2**62, limit=5)

    assert list(found.similarities) == expected[:5]
    assert list(found.similarities.values()) == pytest.approx(
        sorted(cosines, reverse=True)[:5], abs=2e-3
    )


def test_filters_and_words_narrow_the_results(client: Client, make_review: MakeReview) -> None:
    red, _orange, brown = make_colours(make_review, RED, ORANGE, BROWN)
    Review.objects.filter(pk=brown.pk).update(status="approved", decided_at=timezone.now())
    response = search(client, red, status="approved")
    assert list_result_ids(response) == short_ids(brown)
    assert "most similar are filtered" in read_text(response)
    assert "None of the most similar images matches" in read_text(search(client, red, q="castle"))


def test_new_and_deleted_images_are_respected(client: Client, make_review: MakeReview) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    assert list_result_ids(search(client, red)) == short_ids(orange)

    (brown,) = make_colours(make_review, BROWN)
    Embedding.objects.filter(asset=orange.asset).delete()
    assert list_result_ids(search(client, red)) == short_ids(brown)


def test_row_that_becomes_visible_late_is_found(client: Client, make_review: MakeReview) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    search(client, red)
    late = make_review()
    embed(late, RED, finished_at=timezone.now() - timedelta(minutes=4))
    assert list_result_ids(search(client, red)) == short_ids(late, orange)


def test_restored_database_replaces_the_file(client: Client, make_review: MakeReview) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    search(client, red)
    Embedding.objects.all().delete()
    for review, colour in ((red, RED), (orange, BLUE)):
        embed(review, colour)
    response = search(client, red)
    assert list_result_ids(response) == short_ids(orange)
    assert "Similar 0 %" in read_text(response)


def test_damaged_end_of_the_file_is_cut(
    client: Client, make_review: MakeReview, tmp_path: Path
) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    search(client, red)
    path = tmp_path / "cache" / "embeddings" / "colour-1.vectors"
    os.truncate(path, path.stat().st_size - 1)
    assert list_result_ids(search(client, red)) == short_ids(orange)
    assert path.stat().st_size == 2 * (8 + 8 + 3 * 2)


def test_search_without_time_to_copy_all_says_so(
    client: Client, make_review: MakeReview, monkeypatch: pytest.MonkeyPatch
) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    with monkeypatch.context() as patch:
        patch.setattr(likeness, "COPY_SECONDS", -1.0)
        response = search(client, red)
    assert list_result_ids(response) == []
    assert "Not all images have been compared yet." in read_text(response)
    assert list_result_ids(search(client, red)) == short_ids(orange)


def test_other_encoder_versions_are_not_compared(client: Client, make_review: MakeReview) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    Embedding.objects.filter(asset=orange.asset).update(encoder_version="colour-0")
    response = search(client, red)
    assert list_result_ids(response) == []
    assert "No other image has been embedded yet." in read_text(response)


def test_reasons_are_given_when_an_image_cannot_be_compared(
    client: Client, make_review: MakeReview, settings: Any
) -> None:
    review = make_review()
    assert "This image has not been embedded yet" in read_text(search(client, review))
    unknown = client.get("/search/", {"like": str(uuid.uuid4())})
    assert "There is no image with this id." in read_text(unknown)
    settings.ENCODER = ""
    assert "No encoder is in use" in read_text(search(client, review))


def test_review_page_links_to_similar_images(
    client: Client, make_review: MakeReview, settings: Any
) -> None:
    red, orange = make_colours(make_review, RED, ORANGE)
    link = f"/search/?like={red.asset.uuid}"
    assert f'href="{link}"' in client.get(red.get_absolute_url()).content.decode()
    assert list_result_ids(client.get(link)) == short_ids(orange)
    settings.ENCODER = ""
    assert link not in client.get(red.get_absolute_url()).content.decode()


def test_similar_images_are_hidden_during_a_second_opinion(
    client: Client,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    red, _orange = make_colours(make_review, RED, ORANGE)
    judge(red, other_moderator, "approve")
    red.refresh_from_db()
    assert red.wants_opinion_of(moderator)
    client.post(reverse("moderation:review-claim", args=[red.uuid]))

    response = search(client, red)
    assert list_result_ids(response) == []
    assert "Give your second opinion first." in read_text(response)
    page = client.get(f"{red.get_absolute_url()}?queue=second-opinions")
    assert "/search/?like=" not in page.content.decode()


def read_records(settings: Any) -> bytes:
    (path,) = (Path(settings.DATA_DIR) / "cache" / "embeddings").glob("*.vectors")
    return path.read_bytes()


def remove(review: Review, reason: str = "test") -> None:
    with transaction.atomic():
        retention.purge_locked([review.asset], Extent(reason=reason))


def test_vectors_of_removed_images_are_erased_and_the_rest_is_kept(
    client: Client, make_review: MakeReview, settings: Any
) -> None:
    oldest, red, brown, orange = make_colours(make_review, BLUE, RED, BROWN, ORANGE)
    search(client, red)
    vectors = {
        review.pk: bytes(Embedding.objects.get(asset=review.asset).vector or b"")
        for review in (oldest, red, brown, orange)
    }
    size = len(read_records(settings))
    remove(oldest)

    likeness.erase_removed()  # as the chore does, without a search

    stored = read_records(settings)
    assert vectors[oldest.pk] not in stored
    assert all(vectors[review.pk] in stored for review in (red, brown, orange))
    assert list_result_ids(search(client, red)) == short_ids(orange, brown)
    encoder = encoders.get_active()
    assert encoder is not None
    blocks = [list(map(int, assets)) for assets, _ in likeness.iter_blocks(encoder)]
    assert blocks == [[review.asset_id for review in (red, brown, orange)]]
    assert len(read_records(settings)) == size  # not copied again, although its first is gone

    remove(brown)
    remove(orange)
    search(client, red)
    stored = read_records(settings)
    assert vectors[brown.pk] not in stored
    assert len(stored) == size // 4  # most were erased, so the file was made anew


def test_files_of_encoders_that_are_not_in_use_are_deleted(
    client: Client, make_review: MakeReview, settings: Any
) -> None:
    red, _ = make_colours(make_review, RED, BLUE)
    search(client, red)
    folder = Path(settings.DATA_DIR) / "cache" / "embeddings"
    (folder / "earlier-1.vectors").write_bytes(b"vectors")

    likeness.erase_removed()
    assert [path.name for path in folder.glob("*.vectors")] == ["colour-1.vectors"]

    settings.ENCODER = None
    likeness.erase_removed()
    assert not list(folder.glob("*.vectors"))

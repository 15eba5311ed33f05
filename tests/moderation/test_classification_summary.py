"""The classification summary of a review, compared with the tables of the classifiers."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from generation.models import Asset, Source
from moderation import taxonomy
from moderation.classifiers.base import Assessment, Box, ClassifierError, Coverage, Finding
from moderation.models import Classification, Review
from moderation.models.classification_summary import RunSummary, deserialize, serialize
from moderation.services import classification
from tests.moderation.page_helpers import ClientOf, get_review_url

FINDINGS = Assessment(
    findings=(
        Finding(
            category="violence.weapons",
            confidence=Decimal("71.25"),
            box=Box(left=0.1, top=0.2, width=0.3, height=0.4),
        ),
        Finding(
            category="violence.weapons",
            confidence=Decimal("64"),
            box=Box(left=0.5, top=0.2, width=0.3, height=0.4),
        ),
        Finding(category="drugs-tobacco", confidence=Decimal("55")),
    ),
    covers={"violence": Coverage.FULL, "drugs-tobacco": Coverage.PARTIAL},
    raw={"details": {"drugs-tobacco": ["tobacco", "pipe"]}},
)
SCORE_ONLY = Assessment(flagged=True, score=Decimal("63.50"), covers={"explicit": Coverage.FULL})


@pytest.fixture
def asset(
    make_asset: Callable[..., Asset], make_request: Callable[..., Any], settings: Any
) -> Asset:
    """Create an asset that three classifiers must classify."""
    settings.CLASSIFIERS = ["sandbox", "local", "novita"]
    request = make_request(provider="novita-sandbox", enable_nsfw_detection=True)
    found = make_asset(
        source=Source.TXT2IMG,
        request=request,
        position=0,
        detection_level=2,
        detection={"valid": True},
    )
    assert found.classifications.count() > 1
    return found


def store_all_results(asset: Asset) -> Review:
    """Store the results: one with findings, one with only a score, one failed."""
    first, *others = asset.classifications.order_by("pk")
    classification.store_result(first, FINDINGS, duration_ms=1)
    for run in others[:-1]:
        classification.store_result(run, SCORE_ONLY, duration_ms=1)
    classification.handle_error(others[-1], ClassifierError("It was asleep."))
    return Review.objects.get(asset=asset)


def fetch_labels(client: Client, review: Review) -> str:
    """Return the section "Labels" of the review page and the boxes drawn over the image."""
    text = unescape(client.get(get_review_url(review)).content.decode())
    found = re.search(r'<h2 class="label">Labels</h2>(.*?)</section>', text, re.S)
    assert found
    return found[1] + "".join(re.findall(r"<rect.*?</text>", text))


def test_summary_is_not_stored_before_last_classification(
    client_of: ClientOf, asset: Asset, moderator: User
) -> None:
    classification.store_result(asset.classifications.order_by("pk")[0], FINDINGS, duration_ms=1)

    review = Review.objects.get(asset=asset)

    assert (review.status, review.classification_summary) == (Review.Status.CLASSIFYING, None)
    told = fetch_labels(client_of(moderator), review)
    assert "Weapons" in told
    assert 'data-status="classifying">Running<' in told


def test_classifier_that_sees_all_categories_in_part_says_so(
    client_of: ClientOf, asset: Asset, moderator: User
) -> None:
    covers = {category.slug: Coverage.PARTIAL for category in taxonomy.L1}
    run = asset.classifications.order_by("pk")[0]
    classification.store_result(run, Assessment(covers=covers), duration_ms=1)

    told = fetch_labels(client_of(moderator), Review.objects.get(asset=asset))

    assert "Detects all categories in part." in told


def test_summary_and_tables_show_the_same_labels(
    client_of: ClientOf, asset: Asset, moderator: User
) -> None:
    review, client = store_all_results(asset), client_of(moderator)
    assert review.status == Review.Status.PENDING
    kept = fetch_labels(client, review)
    for word in (
        "Weapons",
        "×2",
        "tobacco, pipe",
        "It was asleep.",
        'data-status="failed">Failed<',
        "<rect",
        "Weapons 71",
    ):
        assert word in kept

    # Reviews older than the column have no summary.
    Review.objects.filter(pk=review.pk).update(classification_summary=None)

    assert fetch_labels(client, review) == kept


def test_summary_needs_no_query_of_other_tables(
    client_of: ClientOf, asset: Asset, moderator: User
) -> None:
    review, client = store_all_results(asset), client_of(moderator)

    with CaptureQueriesContext(connection) as seen:
        assert "Weapons" in fetch_labels(client, review)

    tables = " ".join(query["sql"] for query in seen.captured_queries)
    assert "moderation_review" in tables
    assert "moderation_classification" not in tables
    assert "moderation_label" not in tables


def test_deserialized_summary_equals_stored_results(asset: Asset) -> None:
    review = store_all_results(asset)

    runs = deserialize(review.classification_summary)

    assert runs == deserialize(serialize(Classification.objects.for_asset(asset.pk)))
    assert [type(run) for run in runs] == [RunSummary] * asset.classifications.count()
    first = runs[0]
    assert [part.box for part in first.parts] == [[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.3, 0.4], None]
    assert first.details == {"drugs-tobacco": ["tobacco", "pipe"]}
    assert (runs[-1].status, runs[-1].error) == (Classification.Status.FAILED, "It was asleep.")

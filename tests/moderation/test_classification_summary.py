"""What the classifiers said is kept with the review, and reads the same as from their own
tables.
"""

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
from moderation.classifiers.base import Assessment, Box, ClassifierError, Coverage, Finding
from moderation.models import Classification, Review
from moderation.models.classification_summary import RunSummary, deserialize, serialize
from moderation.services import classification
from tests.moderation.page_helpers import As, page_of

SEEN = Assessment(
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
SCORED = Assessment(flagged=True, score=Decimal("63.50"), covers={"explicit": Coverage.FULL})


@pytest.fixture
def asset(
    make_asset: Callable[..., Asset], make_request: Callable[..., Any], settings: Any
) -> Asset:
    """Three classifiers are to look at it."""
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


def answer(asset: Asset) -> Review:
    """One finds something, the next only scores it, a third cannot judge it."""
    first, *others = asset.classifications.order_by("pk")
    classification.store_result(first, SEEN, duration_ms=1)
    for run in others[:-1]:
        classification.store_result(run, SCORED, duration_ms=1)
    classification.handle_error(others[-1], ClassifierError("It was asleep."))
    return Review.objects.get(asset=asset)


def labels_on(client: Client, review: Review) -> str:
    """The part of the screen that says what classifiers said, and what is drawn over the image."""
    text = unescape(client.get(page_of(review)).content.decode())
    found = re.search(r'<h2 class="label">Labels</h2>(.*?)</section>', text, re.S)
    assert found
    return found[1] + "".join(re.findall(r"<rect.*?</text>", text))


def test_nothing_is_kept_while_one_of_them_still_looks(
    client_of: As, asset: Asset, moderator: User
) -> None:
    classification.store_result(asset.classifications.order_by("pk")[0], SEEN, duration_ms=1)

    review = Review.objects.get(asset=asset)

    assert (review.status, review.classification_summary) == (Review.Status.CLASSIFYING, None)
    told = labels_on(client_of(moderator), review)
    assert "Weapons" in told
    assert 'data-status="classifying">Running<' in told


def test_what_is_kept_tells_what_the_tables_tell(
    client_of: As, asset: Asset, moderator: User
) -> None:
    review, client = answer(asset), client_of(moderator)
    assert review.status == Review.Status.PENDING
    kept = labels_on(client, review)
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

    Review.objects.filter(pk=review.pk).update(
        classification_summary=None
    )  # as in reviews that are older than the column

    assert labels_on(client, review) == kept


def test_what_is_kept_needs_no_other_table(client_of: As, asset: Asset, moderator: User) -> None:
    review, client = answer(asset), client_of(moderator)

    with CaptureQueriesContext(connection) as seen:
        assert "Weapons" in labels_on(client, review)

    tables = " ".join(query["sql"] for query in seen.captured_queries)
    assert "moderation_review" in tables
    assert "moderation_classification" not in tables
    assert "moderation_label" not in tables


def test_it_comes_back_as_it_went_in(asset: Asset) -> None:
    review = answer(asset)

    runs = deserialize(review.classification_summary)

    assert runs == deserialize(serialize(Classification.objects.for_asset(asset.pk)))
    assert [type(run) for run in runs] == [RunSummary] * asset.classifications.count()
    first = runs[0]
    assert [part.box for part in first.parts] == [[0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.3, 0.4], None]
    assert first.details == {"drugs-tobacco": ["tobacco", "pipe"]}
    assert (runs[-1].status, runs[-1].error) == (Classification.Status.FAILED, "It was asleep.")

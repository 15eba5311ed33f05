"""Not judged, judged clean and found: the same words and order on all pages and in the CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

import moderation.tasks
from generation.models import Asset
from moderation import taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.classifiers.picture import Picture
from moderation.classifiers.sandbox import Sandbox
from moderation.models import Classification, Review, Verdict
from moderation.services import decisions
from tests.moderation.contact_sheet_helpers import claim_sheet, fetch_sheet, read_field_values
from tests.moderation.page_helpers import ClientOf, MakeReview

ALL = dict.fromkeys((category.slug for category in taxonomy.L1), Coverage.FULL)
FOUND = (Finding(category="alcohol.use", confidence=Decimal(100)),)
WEAK = (Finding(category="explicit.nudity", confidence=Decimal("20")),)
# By arrival: the result, and the words and the risk that it must have everywhere.
RESULTS: list[tuple[Assessment | None, str, int]] = [
    (Assessment(covers=ALL), "No findings", 0),  # an import, which the policy leaves to people
    (Assessment(covers={"explicit": Coverage.FULL}), "No findings", 1),
    (Assessment(covers=ALL, findings=WEAK), "Explicit Nudity", 20),
    (Assessment(covers=ALL, findings=FOUND), "Alcohol Use", 98),
    (None, "Not judged", 100),
]


@pytest.fixture
def reviews(
    make_asset: Callable[..., Asset], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> list[Review]:
    """Return one review for each of RESULTS, settled by the classify job."""
    settings.CLASSIFIERS = ["sandbox"]
    monkeypatch.setattr(Sandbox, "applies_to", lambda *args: True)
    assets = [make_asset() for _ in RESULTS]
    results = {asset.sha256: result for asset, (result, _, _) in zip(assets, RESULTS, strict=True)}

    def assess(self: Sandbox, picture: Picture) -> Assessment:
        result = results[picture.sha256]
        if result is None:
            raise ClassifierError("The classifier gave up.")
        return result

    monkeypatch.setattr(Sandbox, "assess", assess)
    while Classification.objects.filter(status=Classification.Status.QUEUED).exists():
        moderation.tasks.classify()
    return list(Review.objects.order_by("pk"))


def read_captions(page: str) -> list[tuple[str, int | None]]:
    """Return the words of each tile and the risk shown on it."""
    tiles = re.findall(r'<li class="frame">.*?</li>', page, re.DOTALL)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", tile).split()) for tile in tiles]
    risks = [re.search(r"risk (\d+)", text) for text in texts]
    return [
        (next(words for _, words, _ in RESULTS if words in text), risk and int(risk[1]))
        for text, risk in zip(texts, risks, strict=True)
    ]


def test_queue_starts_with_unjudged_and_ends_with_clean(
    reviews: list[Review], client_of: ClientOf, moderator: User
) -> None:
    page = client_of(moderator).get("/queues/waiting/").content.decode()

    # A tile shows no risk that equals the confidence, and none without a confidence.
    assert read_captions(page) == [
        ("Not judged", None),
        ("Alcohol Use", None),
        ("Explicit Nudity", None),
        ("No findings", None),
        ("No findings", None),
    ]
    assert page.count("Not judged") == 1
    assert [review.risk for review in reviews] == [risk for _, _, risk in RESULTS]


def test_contact_sheet_starts_with_unjudged_and_ends_with_clean(
    reviews: list[Review], client_of: ClientOf, moderator: User
) -> None:
    client = client_of(moderator)
    claim_sheet(client)
    sheet = fetch_sheet(client)
    captions = " ".join(re.findall(r'class="caption">(.*?)</', sheet))

    assert read_field_values(sheet, "tile") == [str(review.uuid) for review in reversed(reviews)]
    assert re.findall(r"Not judged|Alcohol Use|Explicit Nudity|No findings", captions) == [
        words for _, words, _ in reversed(RESULTS)
    ]


def test_search_shows_words_and_risk_of_each_image(
    reviews: list[Review], client_of: ClientOf, moderator: User
) -> None:
    page = client_of(moderator).get("/search/?status=pending").content.decode()

    # Results are in the order of arrival, newest first.
    assert read_captions(page) == [(words, risk) for _, words, risk in reversed(RESULTS)]


def test_search_by_risk_starts_with_unjudged_and_ends_with_clean(
    reviews: list[Review], client_of: ClientOf, moderator: User
) -> None:
    page = client_of(moderator).get("/search/?order=risk").content.decode()

    assert read_captions(page) == [(words, risk) for _, words, risk in reversed(RESULTS)]


def test_finding_without_a_confidence_has_no_number_on_any_page(
    make_review: MakeReview, client_of: ClientOf, moderator: User
) -> None:
    review = make_review()
    Review.objects.filter(pk=review.pk).update(risk=90, top_category="alcohol.use")
    browser = client_of(moderator)
    for address in ("/queues/waiting/", "/search/?status=pending", "/search/?order=risk"):
        tile = re.findall(
            r'<li class="frame">.*?</li>', browser.get(address).content.decode(), re.S
        )
        text = re.sub(r"<[^>]+>", " ", "".join(tile))
        assert "Alcohol Use" in text
        assert "no confidence given" in text
        assert not re.search(r"\b(90|50)\b", text.replace(review.asset.short_id, ""))


def test_csv_has_words_and_risk_of_each_image(
    reviews: list[Review], client_of: ClientOf, moderator: User, senior: User
) -> None:
    for review in reviews:
        decisions.claim(review=review, user=moderator)
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)

    response: Any = client_of(senior).get("/exports/decisions.csv")
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))

    assert [(row["finding"], int(row["risk"])) for row in rows] == [
        (words, risk) for _, words, risk in RESULTS
    ]

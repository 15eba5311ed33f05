"""Labels and classifications in the admin site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from moderation.admin import LabelAdmin
from moderation.models import Classification, Label, Review
from tests.moderation.page_helpers import ClientOf, MakeReview, add_label

LIST = "/admin/moderation/label/"
Listed = Callable[[str], list[str]]


@pytest.fixture
def browser(auditor: User, client_of: ClientOf) -> Client:
    return client_of(auditor)


@pytest.fixture
def listed(browser: Client) -> Listed:
    """Return a function that returns the listed labels as text, newest first."""

    def load(query: str) -> list[str]:
        response = browser.get(f"{LIST}?{query}")
        assert response.status_code == 200, response.headers
        return [str(label) for label in response.context["cl"].result_list]

    return load


@pytest.fixture
def labels(make_review: MakeReview) -> Review:
    review = make_review()
    add_label(review, "violence.weapons", 95)
    add_label(review, "violence", 60)
    add_label(review, "alcohol.use", None, classifier="scenario")
    Classification.objects.filter(classifier="scenario").update(flagged=True, version="7")
    return review


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["Alcohol Use without confidence", "Violence 60.00", "Weapons 95.00"]),
        ("category=violence", ["Violence 60.00", "Weapons 95.00"]),
        ("category=violence.weapons", ["Weapons 95.00"]),
        ("category=gambling", []),
        ("confidence=90", ["Weapons 95.00"]),
        ("confidence=50", ["Violence 60.00"]),
        ("confidence=0", []),
        ("confidence=none", ["Alcohol Use without confidence"]),
        ("classifier=scenario", ["Alcohol Use without confidence"]),
        ("version=scripted:1", ["Violence 60.00", "Weapons 95.00"]),
        ("version=scenario:7", ["Alcohol Use without confidence"]),
        ("classification__flagged__exact=1", ["Alcohol Use without confidence"]),
        ("category=violence&confidence=90&classifier=scripted", ["Weapons 95.00"]),
    ],
)
def test_filters_narrow_the_labels(
    labels: Review, listed: Listed, query: str, expected: list[str]
) -> None:
    assert listed(query) == expected


def test_list_of_labels_shows_none_for_a_missing_confidence(
    labels: Review, browser: Client
) -> None:
    text = browser.get(LIST).content.decode()

    assert '<td class="field-given_confidence">none given</td>' in text
    assert '<td class="field-given_confidence">95.00</td>' in text
    assert labels.asset.short_id in text
    assert "version=scenario%3A7" in text
    page = browser.get(f"{LIST}{Label.objects.get(category='alcohol.use').pk}/change/")
    assert "none given" in page.content.decode()


def test_labels_are_found_by_the_whole_id_of_their_asset(
    labels: Review, make_review: MakeReview, listed: Listed, browser: Client
) -> None:
    other = make_review()
    add_label(other, "gambling", 70)

    assert listed(f"q={other.asset.uuid}") == ["Gambling 70.00"]
    assert len(listed(f"q={labels.asset.uuid}")) == 3
    assert listed("q=nonsense") == []
    assert "whole id" in browser.get(f"{LIST}?q=nonsense").content.decode()


def test_list_has_the_newest_labels_and_the_search_has_all(
    labels: Review, listed: Listed, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LabelAdmin, "LISTED_MAX", 1)
    oldest = Label.objects.earliest("pk")

    assert listed("") == ["Alcohol Use without confidence"]
    assert listed("category=violence") == ["Violence 60.00", "Weapons 95.00"]
    monkeypatch.setattr("moderation.admin_filters.RARE_MAX", 1)
    assert listed("category=violence") == []
    assert listed("category=alcohol") == ["Alcohol Use without confidence"]
    assert len(listed(f"q={labels.asset.uuid}")) == 3
    assert browser.get(f"{LIST}{oldest.pk}/change/").status_code == 200


def test_list_of_labels_takes_a_fixed_number_of_queries(
    make_review: MakeReview, browser: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(8):
        add_label(make_review(), "violence.weapons", 95)

    with django_assert_max_num_queries(14):
        browser.get(LIST)


def test_asset_page_lists_its_classifications(labels: Review, browser: Client) -> None:
    Classification.objects.filter(classifier="scripted").update(
        covers={"violence": "full", "alcohol": "partial"}, cost="0.0015", duration_ms=123
    )
    Classification.objects.create(
        asset=labels.asset,
        classifier="novita",
        version="2",
        status="failed",
        error="<b>no answer</b>",
    )

    text = browser.get(f"/admin/generation/asset/{labels.asset.pk}/change/").content.decode()

    assert "Weapons 95, Violence 60" in text
    assert "<p>Alcohol Use</p>" in text
    assert "Alcohol (partial), Violence" in text
    assert "0.001500" in text
    assert "123" in text
    assert "&lt;b&gt;no answer&lt;/b&gt;" in text
    assert "<b>no answer</b>" not in text

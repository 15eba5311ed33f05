"""Risk by properties of requests: counted once, taken back on reversal, summed up by window."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from generation.models import ApiKey, GenerationRequest, Source
from moderation.judgement.estimates import estimate_wilson
from moderation.models import Decision, Review, RiskProgress, RiskReport, RiskStats
from moderation.services import decisions, housekeeping, risk_stats, statistics
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db
MakeRequest = Callable[..., GenerationRequest]
MakeReviews = Callable[..., list[Review]]
PAGE = "/insights/risk/"


@pytest.fixture
def make_reviews(make_review: MakeReview, make_request: MakeRequest) -> MakeReviews:
    """Return a factory of the reviews of one request."""
    seeds = iter(range(1_000))

    def make(images: int = 1, **fields: Any) -> list[Review]:
        order = make_request(image_num=images, seed=next(seeds), **fields)
        return [
            make_review(source=Source.TXT2IMG, request=order, position=number)
            for number in range(images)
        ]

    return make


def count() -> None:
    statistics.count_record(go_on=lambda: True)
    risk_stats.compute_reports()


def move_to(reviews: list[Review], timestamp: datetime) -> None:
    Review.objects.filter(pk__in=[review.pk for review in reviews]).update(created_at=timestamp)


def get_counts(kind: str, key: str) -> tuple[int, int]:
    rows = RiskStats.objects.filter(kind=kind, key=key)
    return sum(row.decided for row in rows), sum(row.rejected for row in rows)


@pytest.fixture
def decided(make_reviews: MakeReviews, moderator: User, senior: User) -> list[Review]:
    """Return reviews of three requests with decisions, reversals and a second opinion."""
    key = ApiKey.objects.create(name="Shop", owner=senior, digest="d1")
    lora = [{"model_name": "añejo_v2", "strength": 0.8}]
    first = make_reviews(3, prompt="A red dagger", model_name="dark.safetensors", loras=lora)
    second = make_reviews(2, prompt="a red boat", requested_by=senior)
    third = make_reviews(2, prompt="a boat", api_key=key, requested_by=senior)
    move_to(first, timezone.now().replace(hour=3) - timedelta(days=2))
    for review in Review.objects.filter(pk__in=[one.pk for one in [*first, *second, *third]]):
        verdict = "reject" if review.pk % 2 else "approve"
        judge(review, moderator, verdict)
    reversed_one = Decision.objects.filter(review=first[0]).get()
    decisions.reverse(decision=reversed_one, user=moderator)
    return [*first, *second, *third]


@pytest.mark.parametrize("step", [1, 2, 200])
def test_counts_equal_a_count_of_what_stands_for_any_batch_size(
    decided: list[Review], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(risk_stats, "BATCH", step)

    count()
    count()

    expected: dict[tuple[str, str], list[int]] = {}
    for review in Review.objects.select_related("asset__request"):
        if review.status not in ("approved", "rejected"):
            continue
        request = review.asset.request
        assert request is not None
        source = (
            f"key:{request.api_key_id}" if request.api_key_id else f"user:{request.requested_by_id}"
        )
        places = [
            ("all", ""),
            ("hour", str(review.created_at.hour)),
            ("weekday", str(review.created_at.weekday())),
            ("model", request.model_name),
            *(("word", word) for word in request.prompt.lower().split() if len(word) > 2),
            *(("lora", lora["model_name"]) for lora in request.loras),
            *([("requester", source)] if "None" not in source else []),
        ]
        for place in places:
            counts = expected.setdefault(place, [0, 0])
            counts[0] += 1
            counts[1] += review.status == "rejected"
    found = {
        (row.kind, row.key): list(get_counts(row.kind, row.key)) for row in RiskStats.objects.all()
    }
    assert {place: counts for place, counts in found.items() if counts[0]} == expected
    assert found["word", "dagger"][0] == 2
    assert found["lora", "añejo_v2"][0] == 2


def test_windows_hold_the_images_that_arrived_in_them(
    make_reviews: MakeReviews, moderator: User
) -> None:
    for days, number in ((0, 1), (6, 2), (7, 4), (29, 8), (30, 16), (89, 3), (90, 5)):
        reviews = make_reviews(1, prompt="a red kite")
        for _ in range(number - 1):
            reviews += make_reviews(1, prompt="a red kite")
        move_to(reviews, timezone.now() - timedelta(days=days))
        for review in Review.objects.filter(pk__in=[one.pk for one in reviews]):
            judge(review, moderator, "reject")

    count()

    by_window = {row.days: row.document["decided"] for row in RiskReport.objects.all()}
    assert by_window == {7: 3, 30: 15, 90: 34}


def test_ranking_puts_the_highest_lower_bound_first() -> None:
    ranking = risk_stats.Ranking()
    rows = [(f"k{n}", n, random.Random(n).randint(0, n)) for n in range(1, 400)]
    for row in rows:
        ranking.add(*row)

    known = [row for row in rows if row[1] >= 30]
    best = sorted(known, key=lambda row: -(estimate_wilson(row[2], row[1]).low or 0.0))
    assert [row[0] for row in ranking.listed] == [row[0] for row in best[: risk_stats.RANKED]]
    assert ranking.to_json()["unknown"] == 29


def test_old_days_are_deleted() -> None:
    today = timezone.now().astimezone(UTC).date()
    for days in (89, 90, 200):
        day = today - timedelta(days=days)
        RiskStats.objects.create(day=day, kind="word", key="dagger", decided=1)

    assert housekeeping.CHORES["risk stats"](500) == 2

    assert RiskStats.objects.get().day == today - timedelta(days=89)


def test_record_is_due_until_it_is_in_the_risk_stats(decided: list[Review]) -> None:
    count()
    assert RiskProgress.objects.get().sequence == Decision.objects.count()
    assert not statistics.find_due().exists()


# --- Page ---
def fill(word: str, decided: int, rejected: int, *, kind: str = "word") -> None:
    RiskStats.objects.create(
        day=timezone.now().astimezone(UTC).date(),
        kind=kind,
        key=word,
        decided=decided,
        rejected=rejected,
    )


@pytest.fixture
def filled(senior: User, db: None) -> None:
    fill("", 1_000, 100, kind="all")
    fill("dagger", 200, 90)
    fill("boat", 300, 3)
    fill("rare", 5, 5)
    fill("3", 40, 10, kind="hour")
    fill(f"user:{senior.pk}", 40, 10, kind="requester")
    risk_stats.compute_reports()


def test_page_marks_what_lies_above_the_average_and_links_to_the_images(
    filled: None, client_of: ClientOf, senior: User, django_assert_max_num_queries: Any
) -> None:
    client = client_of(senior)
    client.get(PAGE)
    with django_assert_max_num_queries(10):
        page = client.get(PAGE).content.decode()
    assert "10 %" in page

    rows = client.get(f"{PAGE}word/").content.decode()
    since = (timezone.now().astimezone(UTC).date() - timedelta(days=29)).isoformat()
    assert f"/search/?q=%22dagger%22&amp;start={since}" in rows
    assert rows.index("dagger") < rows.index("boat") < rows.index("rare")
    assert rows.count(">above<") == 1
    assert rows.count(">below<") == 1
    assert "not known" in rows


def test_operator_reads_the_figures_without_links_to_images(
    filled: None, client_of: ClientOf, operator: User
) -> None:
    page = client_of(operator).get(f"{PAGE}word/").content.decode()

    assert "dagger" in page
    assert "/search/?q=%22dagger" not in page


def test_json_and_csv_hold_the_same_rows(filled: None, client_of: ClientOf, lead: User) -> None:
    client = client_of(lead)
    document = client.get("/insights/risk.json?days=7").json()
    table = list(
        csv.DictReader(io.StringIO(client.get("/insights/risk.csv?days=7").content.decode()))
    )

    assert [row["key"] for row in document["rows"]] == [row["key"] for row in table]
    dagger = document["rows"][0]
    figure = estimate_wilson(90, 200)
    assert dagger == {
        "kind": "word",
        "key": "dagger",
        "decided": 200,
        "rejected": 90,
        "rate": 0.45,
        "low": pytest.approx(figure.low, abs=1e-6),
        "high": pytest.approx(figure.high, abs=1e-6),
    }
    assert document["rows"][2]["rate"] is None


@pytest.mark.parametrize("query", ["?days=8", "?days=x"])
def test_unknown_window_returns_400(client_of: ClientOf, senior: User, query: str) -> None:
    assert client_of(senior).get(f"{PAGE}{query}").status_code == 400
    assert client_of(senior).get(f"{PAGE}all/").status_code == 404


# --- Links into the search ---
def search(client: Client, **parameters: str) -> set[str]:
    page = client.get("/search/", parameters).context["page"]
    return {result.address for result in page.results}


def test_search_finds_images_by_lora_hour_weekday_and_key(
    decided: list[Review], client_of: ClientOf, senior: User
) -> None:
    client = client_of(senior)
    rows = list(Review.objects.order_by("pk"))
    first = {row.get_absolute_url() for row in rows[:3]}
    monday = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    assert search(client, lora="añejo_v2") == first
    assert search(client, lora="añejo") == set()
    assert search(client, lora='a"%_') == set()
    move_to(rows[:2], monday)
    move_to(rows[2:], monday + timedelta(hours=1))
    assert search(client, hour="23") == {row.get_absolute_url() for row in rows[:2]}
    assert search(client, weekday="0") == {row.get_absolute_url() for row in rows[:2]}
    assert search(client, weekday="1", hour="0") == {row.get_absolute_url() for row in rows[2:]}
    assert search(client, requester="Shop") == {row.get_absolute_url() for row in rows[5:]}

"""Insights: figures over time, their comparison, gaps, files and costs in queries."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from moderation.models import CountProgress, JudgementReport, Measure, PeriodCount
from moderation.presenters.insights import build_document
from moderation.presenters.period_series import SPANS
from moderation.services.period_counts import floor_day, floor_hour
from tests.moderation.page_helpers import ClientOf

Step = PeriodCount.Step


@pytest.fixture
def today(db: None) -> datetime:
    """Count everything of the last 40 days, and return the start of today."""
    now = timezone.now()
    CountProgress.objects.bulk_create(
        [
            CountProgress(stream=stream, began_at=now - timedelta(days=40), counted_until=now)
            for stream in CountProgress.Stream
        ]
    )
    return floor_day(now)


def add(start: datetime, measure: Measure, part: str = "", count: int = 1, **values: Any) -> None:
    PeriodCount.objects.create(
        step=values.pop("step", Step.DAY),
        start=start,
        measure=measure,
        part=part,
        count=count,
        **values,
    )


def read(name: str, span: str = "14d") -> dict[str, Any]:
    found: dict[str, Any] = build_document(SPANS[span])["figures"][name]
    return found


def test_arrivals_are_compared_with_the_span_before(today: datetime) -> None:
    add(today - timedelta(days=1), Measure.ARRIVALS, "txt2img", 30)
    add(today - timedelta(days=20), Measure.ARRIVALS, "txt2img", 20)
    add(today - timedelta(days=1), Measure.DECISIONS, "people:approved", 12)

    flow = read("flow")

    assert flow["value"] == "30"
    assert flow["comparison"] == "12 decisions; 50 % more than in the 14 days before"
    assert flow["rows"][-2][1:] == [30, 12]


def test_uncounted_days_are_gaps_and_counted_days_are_zero(today: datetime) -> None:
    CountProgress.objects.update(began_at=today - timedelta(days=3))
    CountProgress.objects.filter(stream="arrivals").update(counted_until=today)

    arrivals = [row[1] for row in read("flow")["rows"]]

    assert arrivals == [None] * 10 + [0, 0, 0, None]


def test_hours_without_a_worker_are_gaps_in_the_queue(today: datetime) -> None:
    hour = floor_hour(timezone.now())
    for back, depth in ((3, 40), (0, 10)):
        start = hour - timedelta(hours=back)
        add(start, Measure.QUEUE, "pending", count=2, total=2.0 * depth, step=Step.HOUR)
        add(start, Measure.AGE, "oldest", total=90, peak=90, step=Step.HOUR)

    waiting = [row[1] for row in read("queue", "24h")["rows"]]

    assert waiting[-4:] == [40, None, None, 10]


def test_age_is_compared_with_its_target(today: datetime, settings: Any) -> None:
    settings.QUEUE_AGE_TARGET_MINUTES = 60
    for back, age in ((2, 30), (1, 45), (0, 240)):
        add(today - timedelta(days=back), Measure.AGE, "oldest", total=age, peak=age)

    age_figure = read("age")

    assert age_figure["value"] == "4 h"
    assert age_figure["comparison"] == "target 1 h, met in 2 of 3"


def test_share_of_the_policy_counts_its_decisions_alone(today: datetime) -> None:
    add(today, Measure.DECISIONS, "policy:approved", 60)
    add(today, Measure.DECISIONS, "policy:rejected", 15)
    add(today, Measure.DECISIONS, "people:approved", 25)

    assert read("settled")["value"] == "75 %"


def test_agreement_of_few_second_opinions_is_not_known(today: datetime) -> None:
    add(today, Measure.OPINIONS, "approved:approved", 20)

    assert read("agreement")["value"] == "not known"
    assert "20 of at least 30" in read("agreement")["comparison"]


def test_agreement_and_kappa_have_intervals(today: datetime) -> None:
    add(today, Measure.OPINIONS, "approved:approved", 45)
    add(today, Measure.OPINIONS, "rejected:rejected", 45)
    add(today, Measure.OPINIONS, "approved:rejected", 5)
    add(today, Measure.OPINIONS, "rejected:approved", 5)

    assert read("agreement")["value"] == "90 %"
    assert read("kappa")["value"] == "0.80"
    assert "between" in read("kappa")["comparison"]


def test_spending_of_a_day_stands_against_the_limit(today: datetime, settings: Any) -> None:
    settings.SPENDING_LIMIT_PER_DAY = 20
    add(today, Measure.AGE, "oldest")
    add(today, Measure.SPEND, "vlm", 3, total=1.5)

    spending = read("spending")

    assert spending["value"] == "1.50 USD"
    assert spending["comparison"].startswith("limit 20.00 USD a day")


@pytest.mark.parametrize(
    "path", ["/insights/", "/insights/quality/", "/insights/services/", "/insights/classifiers/"]
)
@pytest.mark.parametrize("span", ["24h", "14d", "12w"])
def test_pages_cost_at_most_ten_queries(
    client_of: ClientOf,
    senior: User,
    today: datetime,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    path: str,
    span: str,
) -> None:
    for day in range(14):
        for part in ("novita:submit:done", "vlm:classify:done", "webhooks:deliver:failed"):
            add(today - timedelta(days=day), Measure.CALLS, part, 5)
    client = client_of(senior)

    with django_assert_max_num_queries(10):
        page = client.get(path, {"span": span})

    assert page.status_code == 200


def test_every_figure_has_a_plot_with_a_text_alternative_and_a_table(
    client_of: ClientOf, lead: User, today: datetime
) -> None:
    text = client_of(lead).get("/insights/").content.decode()

    # The wide plot has a second drawing for narrow places.
    assert (text.count("<caption"), text.count('role="img"')) == (4, 5)


def test_unknown_span_and_figure_are_refused_with_a_sentence(
    client_of: ClientOf, senior: User, today: datetime
) -> None:
    client = client_of(senior)

    answers = [client.get("/insights/?span=1y"), client.get("/insights.csv?figure=nothing")]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert "24h, 14d, 12w" in answers[0].content.decode()


def test_csv_has_empty_cells_for_gaps(client_of: ClientOf, senior: User, today: datetime) -> None:
    CountProgress.objects.update(began_at=today)
    add(today, Measure.ARRIVALS, "upload", 7)

    answer = client_of(senior).get("/insights.csv?figure=flow")

    rows = list(csv.reader(io.StringIO(answer.content.decode())))
    assert rows[0] == ["start", "arrivals", "decisions"]
    assert (rows[1][1:], rows[-1][1:]) == (["", ""], ["7", "0"])
    everything = client_of(senior).get("/insights.csv").content.decode().splitlines()
    assert everything[0] == "figure,start,series,value"
    assert sum(line.startswith("flow,") for line in everything) == 28


def test_csv_needs_the_permission_to_export(
    client_of: ClientOf, senior: User, today: datetime
) -> None:
    group = senior.groups.get()
    group.permissions.remove(*group.permissions.filter(codename="export_decision"))
    client = client_of(senior)

    assert client.get("/insights.csv?figure=flow").status_code == 403
    assert client.get("/insights.json").status_code == 200


def test_classifiers_show_the_figures_of_the_report(client_of: ClientOf, auditor: User) -> None:
    known = {"value": 0.37, "low": 0.34, "high": 0.4, "n": 1000}
    unknown = {"value": None, "low": None, "high": None, "n": 4}
    JudgementReport.objects.create(
        days=90,
        computed_at=timezone.now(),
        document={
            "days": 90,
            "since": "2026-09-01T00:00:00+00:00",
            "until": "2026-11-30T00:00:00+00:00",
            "policy": 3,
            "audits": {"drawn": 40, "answered": 31},
            "decisions": 200,
            "figures": [
                {
                    "classifier": "nudenet",
                    "version": "v3",
                    "category": "violence",
                    "precision": known,
                    "precision_influenced": unknown,
                    "miss_rate": unknown,
                    "recall": {**unknown, "n": 0},
                    "kappa": unknown,
                    "calibration": {
                        "n": 50,
                        "ece": 0.04,
                        "brier": 0.1,
                        "bins": [{"mean": 0.8, "value": 0.7, "low": 0.5, "high": 0.9, "n": 50}],
                    },
                    "weeks": [
                        {"source": "upload", "week": week, "value": 0.5, "low": 0.3}
                        | {"high": 0.7, "n": 40, "is_signal": False}
                        for week in ("2026-W45", "2026-W47")
                    ],
                }
            ],
        },
    )

    text = client_of(auditor).get("/insights/classifiers/").content.decode()

    assert "37 % (34 % to 40 %), n 1,000" in text
    assert "not known, n 4" in text
    assert "Violence: stated and observed" in text
    assert "Violence: confirmed a week, upload" in text
    assert "31</span> of" in text


def test_classifiers_without_a_report_say_so(client_of: ClientOf, lead: User) -> None:
    assert "No figures yet" in client_of(lead).get("/insights/classifiers/").content.decode()

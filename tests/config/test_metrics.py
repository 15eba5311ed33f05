"""The page /metrics: access, counters, and what waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from config.overload import Gate
from generation import jobs
from generation.models import JobSlot, ProviderState, ServiceCall, StorageReport
from generation.services.service_calls import record_calls
from moderation.models import Review, RunningTotal, Verification
from moderation.services import decisions, period_counts
from moderation.services.period_counts import Stream, count_batch
from moderation.services.running_totals import Totals
from tests.config.test_outages import Away
from tests.moderation.page_helpers import MakeReview
from tests.moderation.second_opinion_helpers import judge

TOKEN = "metrics-token-of-the-tests-" + "0123456789abcdef" * 2
Kind, Outcome = ServiceCall.Kind, ServiceCall.Outcome
Read = Callable[[], dict[str, float]]


@pytest.fixture(autouse=True)
def _metrics(db: None, settings: Any) -> None:
    settings.METRICS_TOKEN, settings.METRICS_ENABLED = TOKEN, True
    period_counts.add_streams()


@pytest.fixture
def read() -> Read:
    """Return a function that returns all samples of /metrics, by name and labels."""

    def read_samples() -> dict[str, float]:
        return parse(Client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}))

    return read_samples


def parse(answer: Any) -> dict[str, float]:
    assert answer.status_code == 200, answer.content
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def count_all() -> None:
    for stream in Stream:
        while count_batch(stream):
            pass


def test_page_does_not_exist_without_a_token_and_an_address(settings: Any) -> None:
    settings.METRICS_TOKEN, settings.METRICS_ENABLED = "", False

    answer = Client().get("/metrics", headers={"Authorization": "Bearer "})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
def test_wrong_token_returns_401(header: str) -> None:
    answer = Client().get("/metrics", headers={"Authorization": header})

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert b"loupe_" not in answer.content


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [("10.1.2.3", 200), ("10.9.9.9", 403), ("10.1.2.3, 10.9.9.9", 403), ("x", 403)],
)
def test_address_is_that_of_the_client_behind_the_proxy(
    settings: Any, forwarded: str, status: int
) -> None:
    settings.METRICS_TOKEN, settings.METRICS_ALLOW = "", ["10.1.0.0/16"]

    answer = Client().get("/metrics", headers={"X-Forwarded-For": forwarded})

    assert answer.status_code == status


def test_page_answers_any_host_without_a_redirect(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    answer = Client().get(
        "/metrics", headers={"Host": "10.2.3.4:8000", "Authorization": f"Bearer {TOKEN}"}
    )

    assert answer.status_code == 200
    assert Client().post("/metrics").status_code == 405


def test_openmetrics_ends_once() -> None:
    accept = "application/openmetrics-text; version=1.0.0"

    answer = Client().get(
        "/metrics", headers={"Accept": accept, "Authorization": f"Bearer {TOKEN}"}
    )

    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.count(b"# EOF") == 1


def test_requests_are_counted_by_route_and_never_by_path(
    read: Read, client_of: Any, moderator: User
) -> None:
    before = read()
    browser = client_of(moderator)
    for path in ("/", "/reviews/00000000-0000-7000-8000-000000000001/", "/no/such/page"):
        browser.get(path)

    def rise(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    after = read()
    assert rise("loupe_http_requests_total{method=GET,route=home,status=200}") == 1
    assert (
        rise("loupe_http_requests_total{method=GET,route=moderation:review-detail,status=404}") == 1
    )
    assert rise("loupe_http_requests_total{method=GET,route=unmatched,status=404}") == 1
    assert rise("loupe_http_request_seconds_count{route=home}") == 1
    assert not any("/reviews/" in name or "00000000" in name for name in after)


def test_overloaded_server_counts_its_refusals(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "loupe_http_requests_total{method=GET,route=account_login,status=503}"
    before = read()
    monkeypatch.setattr(Gate, "enter", lambda gate: False)

    assert Client().get("/login/").status_code == 503

    assert read()[name] == before.get(name, 0) + 1


def test_decisions_are_counted_by_origin_and_outcome(
    read: Read, make_review: MakeReview, moderator: User
) -> None:
    judge(make_review(), moderator, "approve")
    undone = judge(make_review(), moderator, "reject")
    decisions.reverse(decision=undone, user=moderator)
    Review.objects.update(created_at=timezone.now() - timedelta(minutes=5))

    count_all()
    first = read()
    count_all()

    assert read()["loupe_decisions_total{origin=person,outcome=rejected}"] == 1, "never falls"
    assert first["loupe_decisions_total{origin=person,outcome=approved}"] == 1
    assert first["loupe_decisions_reversed_total{origin=person}"] == 1
    assert first["loupe_arrivals_total{source=upload}"] == 2


def test_calls_are_counted_with_buckets_that_rise(read: Read) -> None:
    for milliseconds in (40, 300, 300, 500_000):
        record_calls("novita", Kind.SUBMIT, Outcome.DONE, milliseconds=milliseconds)
    record_calls("novita", Kind.POLL, Outcome.FAILED, count=3)
    record_calls("local", Kind.CLASSIFY, Outcome.DONE, milliseconds=90)
    record_calls("webhooks", Kind.DELIVER, Outcome.FAILED, milliseconds=5)

    count_all()

    found = read()
    assert found["loupe_provider_calls_total{operation=submit,provider=novita,result=done}"] == 4
    assert found["loupe_provider_calls_total{operation=poll,provider=novita,result=failed}"] == 3
    assert found["loupe_classifications_total{classifier=local,result=done}"] == 1
    assert found["loupe_webhook_deliveries_total{result=failed}"] == 1
    name = "loupe_provider_call_seconds_bucket{{le={},operation=submit,provider=novita}}"
    buckets = [found[name.format(bound)] for bound in ("0.02", "0.05", "0.5", "120.0", "+Inf")]
    assert buckets == [0, 1, 3, 3, 4]
    assert found["loupe_provider_call_seconds_sum{operation=submit,provider=novita}"] == (
        pytest.approx(500.64)
    )
    assert found["loupe_classifier_seconds_count{classifier=local}"] == 1


def test_totals_survive_the_deletion_of_old_counts(read: Read, monkeypatch: Any) -> None:
    record_calls("novita", Kind.SUBMIT, Outcome.DONE)
    count_all()
    monkeypatch.setattr(period_counts, "HOURS_KEPT", timedelta(hours=-2))
    monkeypatch.setattr(period_counts, "DAYS_KEPT", timedelta(days=-2))
    assert period_counts.delete_old_counts(100) > 0

    record_calls("novita", Kind.SUBMIT, Outcome.DONE)
    count_all()

    name = "loupe_provider_calls_total{operation=submit,provider=novita,result=done}"
    assert read()[name] == 2


def test_running_total_refuses_to_fall() -> None:
    with pytest.raises(ValueError, match="cannot fall"):
        Totals().add(RunningTotal.Measure.DECISIONS, "person:approved", count=-1)


def test_runs_of_jobs_are_counted_with_their_outcome(read: Read, monkeypatch: Any) -> None:
    jobs.find("housekeeping")()

    def fail(run: Any) -> None:
        raise ValueError("a fault of the job")

    monkeypatch.setattr(jobs.find("statistics"), "function", fail)
    jobs.find("statistics")()
    count_all()

    found = read()
    assert found["loupe_job_runs_total{job=housekeeping,result=done}"] == 1
    assert found["loupe_job_runs_total{job=statistics,result=failed}"] == 1
    assert found["loupe_job_run_seconds_total{job=statistics,result=failed}"] >= 0


def test_waiting_work_has_depth_and_age(read: Read, make_review: MakeReview) -> None:
    make_review()
    make_review()
    Review.objects.filter(pk=Review.objects.earliest("pk").pk).update(
        created_at=timezone.now() - timedelta(hours=2)
    )

    found = read()

    assert found["loupe_queue_depth{queue=reviews,state=pending}"] == 2
    assert found["loupe_queue_oldest_age_seconds{state=pending}"] == pytest.approx(7200, abs=60)
    assert found["loupe_queue_depth{queue=requests,state=queued}"] == 0


def test_hosts_show_workers_and_storage(read: Read) -> None:
    now = timezone.now()
    JobSlot.objects.create(
        name=JobSlot.WORKER, host="alpha", running_until=now + timedelta(seconds=30)
    )
    JobSlot.objects.create(
        name=JobSlot.WORKER, host="beta", running_until=now - timedelta(seconds=1)
    )
    StorageReport.objects.create(host="alpha", seen_at=now, free_bytes=12345)
    StorageReport.objects.create(host="beta", seen_at=now, error="The disk is full.")
    ProviderState.objects.create(slug="novita", last_error_at=now, last_error="no")

    found = read()

    assert found["loupe_workers_alive{host=alpha}"] == 1
    assert found["loupe_workers_alive{host=beta}"] == 0
    assert found["loupe_disk_free_bytes{host=alpha}"] == 12345
    assert found["loupe_storage_ok{host=alpha}"] == 1
    assert found["loupe_storage_ok{host=beta}"] == 0
    assert found["loupe_provider_failing{provider=novita}"] == 1


def test_record_shows_age_and_faults_of_its_verification(read: Read) -> None:
    assert "loupe_record_verification_age_seconds" not in read(), "never verified"
    Verification.objects.create(
        status="finished",
        decisions=0,
        faults=2,
        finished_at=timezone.now() - timedelta(days=3),
    )

    found = read()

    assert found["loupe_record_verification_age_seconds"] == pytest.approx(3 * 86400, abs=60)
    assert found["loupe_record_faults"] == 2


def test_database_away_is_a_metric_and_not_an_error(read: Read) -> None:
    Client().get("/login/")
    with Away():
        found = read()

    assert found["loupe_database_up"] == 0
    assert any(name.startswith("loupe_http_requests_total") for name in found)
    assert not any(name.startswith("loupe_queue") for name in found)


def test_scrape_reads_no_big_table_and_needs_few_queries(
    read: Read, make_review: MakeReview, django_assert_max_num_queries: Any
) -> None:
    make_review()
    with django_assert_max_num_queries(45) as queries:
        read()

    for query in queries.captured_queries:
        sql = query["sql"]
        if "COUNT(" in sql and "moderation_chore" not in sql:
            assert "LIMIT 100000" in sql, sql


def test_no_label_names_a_person_or_a_prompt(
    read: Read, make_review: MakeReview, moderator: User, make_request: Any
) -> None:
    User.objects.filter(pk=moderator.pk).update(username="canary-person")
    make_request(prompt="a canary in a mine")
    judge(make_review(), User.objects.get(pk=moderator.pk), "approve")
    count_all()

    assert "canary" not in " ".join(read())

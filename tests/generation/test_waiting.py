"""Reasons to delay a request: the rate limit, a failing provider, the spending limit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from generation import providers, tasks
from generation.models import GenerationRequest, ProviderState
from generation.providers.base import (
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.services import health, rates, requests, spending, submitting, waiting
from tests.generation.pipeline_helpers import make_everything_due

pytestmark = pytest.mark.django_db(transaction=True)
Status = GenerationRequest.Status
FIELDS = {
    "model_name": "m",
    "prompt": "p",
    "width": 128,
    "height": 128,
    "image_num": 1,
    "steps": 20,
    "guidance_scale": "7.5",
    "sampler_name": "Euler a",
    "seed": 5,
    "response_image_type": "png",
}


class Provider:
    """A fake provider with scripted results, which records its calls."""

    slug, label = "paid", "Paid"

    def __init__(self, **options: Any) -> None:
        self.calls: list[str] = []
        self.answers: list[Exception] = []
        self.always: Exception | None = None

    def submit(self, submission: Any, *, on_answer: Callable[[str], None]) -> str:
        self.calls.append(submission.fields["prompt"])
        error = self.answers.pop(0) if self.answers else self.always
        if error:
            raise error
        return f"task-{len(self.calls)}-{id(self)}"


@pytest.fixture
def provider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Provider:
    settings.IMAGE_PROVIDERS = {
        "paid": {
            "BACKEND": f"{__name__}.Provider",
            "OPTIONS": {"label": "Paid", "base_url": "https://paid.test"},
            "images_per_minute": 0,
            "image_price": Decimal("0.01"),
            "detection_price": Decimal("0.0015"),
        }
    }
    made = Provider()
    monkeypatch.setattr(providers, "get_provider", lambda slug: made)
    return made


def ask(count: int = 1, **fields: Any) -> list[GenerationRequest]:
    made = []
    for number in range(count):
        values = {**FIELDS, "prompt": f"p{number}", **fields}
        made.append(requests.create_request(user=None, provider="paid", fields=values)[0])
    return made


def limit_rate(settings: Any, per_minute: int) -> None:
    settings.IMAGE_PROVIDERS["paid"]["images_per_minute"] = per_minute


def fresh(request: GenerationRequest) -> GenerationRequest:
    request.refresh_from_db()
    return request


# --- Images per minute ---
def test_request_without_tokens_stays_queued_with_a_due_time_and_a_message(
    provider: Provider, settings: Any
) -> None:
    limit_rate(settings, 20)
    sent = ask(2, image_num=8)
    held, later = ask(image_num=8)[0], ask(image_num=1)[0]
    before = timezone.now()

    tasks.submit()

    assert [fresh(one).status for one in sent] == [Status.PROCESSING] * 2
    fresh(held)
    assert (held.status, held.reason, held.attempts) == (Status.QUEUED, "RATE_LIMITED", 0)
    assert held.error.startswith(
        "Paid takes 20 images per minute, and this limit is used up. The request is sent at "
    )
    assert held.due_at is not None
    assert before + timedelta(seconds=10) < held.due_at < timezone.now() + timedelta(seconds=13)
    assert fresh(later).due_at == held.due_at, (
        "a small one does not overtake: the large one would wait for ever"
    )
    assert list(held.transitions.values_list("new", flat=True)) == ["queued"]

    ProviderState.objects.update(tokens=Decimal(9))
    make_everything_due()
    tasks.submit()
    assert (fresh(held).status, held.error) == (Status.PROCESSING, "")
    assert fresh(later).status == Status.PROCESSING


def test_new_request_waits_behind_waiting_requests(provider: Provider, settings: Any) -> None:
    limit_rate(settings, 10)
    ask(image_num=5)
    held = ask(image_num=8)[0]
    tasks.submit()
    newcomer = ask(image_num=1)[0]

    tasks.submit()

    assert fresh(newcomer).due_at == fresh(held).due_at
    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    ("retry_after", "least", "most"), [(None, 0, 6), (30, 30, 34), (7200, 600, 664)]
)
def test_response_429_delays_all_requests_by_retry_after(
    provider: Provider, settings: Any, retry_after: float | None, least: int, most: int
) -> None:
    limit_rate(settings, 20)
    provider.answers = [
        ProviderBusyError(
            "Paid is busy.", reason="SLOW_DOWN", retry_after=retry_after, limited=True
        )
    ]
    refused, other = ask(2)
    before = timezone.now()

    tasks.submit()

    assert len(provider.calls) == 1, "the other one is not tried: it would hear the same"
    for request in (refused, other):
        assert fresh(request).status == Status.QUEUED
        assert request.due_at is not None
        assert before + timedelta(seconds=least) <= request.due_at
        assert request.due_at <= timezone.now() + timedelta(seconds=most)
        assert request.error
    assert refused.reason == "SLOW_DOWN"
    assert (refused.cost, refused.submitted_at) == (None, None)


def test_retry_delay_starts_at_two_seconds_and_at_a_minute_for_misconfiguration() -> None:
    for attempts in range(8):
        seconds = waiting.retry_delay(ProviderError("x"), attempts).total_seconds()
        assert 2 * 2**attempts <= seconds <= 2.5 * 2**attempts
        seconds = waiting.retry_delay(ProviderMisconfiguredError("x"), attempts).total_seconds()
        assert min(60 * 2**attempts, 600) <= seconds <= 1.25 * min(60 * 2**attempts, 600)
    assert waiting.retry_delay(ProviderError("x"), 500) <= timedelta(seconds=750)


# --- A provider that keeps failing ---
@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknownError("Paid failed."),
        ProviderBusyError("Paid could not be reached."),
        ProviderMisconfiguredError("Paid refused the key.", reason="INVALID_API_KEY"),
    ],
)
def test_five_failures_in_a_row_pause_the_provider(provider: Provider, error: Exception) -> None:
    provider.always = error
    ask(12)

    tasks.submit()
    make_everything_due()
    tasks.submit()

    assert len(provider.calls) == health.FAILURES
    waits = GenerationRequest.objects.filter(reason="PROVIDER_PAUSED")
    assert waits.count() >= 7
    sentence = waits[0].error
    assert sentence.startswith("Paid is paused until ")
    assert sentence.endswith(str(error))

    ProviderState.objects.update(tokens_at=timezone.now() - timedelta(seconds=1))
    make_everything_due()
    tasks.submit()
    assert len(provider.calls) == health.FAILURES + 1, "one is tried, and the next pause begins"

    provider.always = None
    ProviderState.objects.update(tokens_at=timezone.now() - timedelta(seconds=1))
    make_everything_due()
    tasks.submit()
    assert not GenerationRequest.objects.filter(status=Status.QUEUED).exists()


def test_rejected_prompts_do_not_count_as_provider_failures(provider: Provider) -> None:
    provider.always = ProviderRejectedError("Paid refused the prompt.", reason="ILLEGAL_PROMPT")
    ask(8)
    tasks.submit()
    assert len(provider.calls) == 8
    state = ProviderState.objects.get()
    assert state.last_success_at is not None
    assert state.last_error == ""


def test_success_is_recorded_at_most_every_ten_seconds(provider: Provider) -> None:
    health.record_success("paid")
    first = ProviderState.objects.get().last_success_at
    health.record_success("paid")
    assert ProviderState.objects.get().last_success_at == first
    health.record_failure("paid", "It broke at https://paid.test/a?Signature=secret.")
    health.record_success("paid")
    state = ProviderState.objects.get()
    assert state.last_error == "It broke at https://paid.test/a"
    assert state.last_success_at != first


# --- Money ---
def test_accepted_and_unknown_requests_count_as_spent(provider: Provider) -> None:
    accepted, unknown, refused, busy = ask(4, image_num=2, enable_nsfw_detection=True)
    provider.answers = [
        None,
        OutcomeUnknownError("?"),
        ProviderRejectedError("no"),
        ProviderBusyError("later"),
    ]

    tasks.submit()

    cost = Decimal("0.023")
    assert [fresh(row).cost for row in (accepted, unknown, refused, busy)] == [
        cost,
        cost,
        None,
        None,
    ]
    assert spending.sum_images_and_cost("paid", spending.start_of_day()) == (4, 2 * cost)
    assert spending.sum_spending(spending.start_of_month()) == 2 * cost

    requests.retry_request(request=unknown)
    make_everything_due()
    tasks.submit()
    assert fresh(unknown).cost == 2 * cost, "it was sent twice, so it may have been billed twice"


def test_spending_limit_refuses_new_requests_and_delays_queued_ones_to_midnight(
    provider: Provider, settings: Any
) -> None:
    first, second = ask(2)
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.01")

    tasks.submit()

    assert fresh(first).status == Status.PROCESSING
    assert (fresh(second).status, second.reason) == (Status.QUEUED, "SPENDING_LIMIT")
    assert second.due_at == spending.start_of_next_day()
    assert (
        "The spending limit of 0.01 USD per day is reached: 0.0100 USD spent today" in second.error
    )
    with pytest.raises(
        spending.SpendingLimitError, match=r"The spending limit of 0\.01 USD per day is reached"
    ):
        ask()
    again, is_new = requests.create_request(
        user=None, provider="paid", fields=FIELDS, form_token=first.form_token
    )
    assert (again, is_new) == (first, False), "a form that was sent before is not refused"


def test_parallel_workers_never_exceed_the_spending_limit(
    provider: Provider, settings: Any
) -> None:
    made = ask(24)
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.05")

    def worker(request: GenerationRequest) -> None:
        try:
            submitting.submit_request(request=request)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(worker, made))

    assert len(provider.calls) == 5
    assert spending.sum_spending(spending.start_of_day()) == Decimal("0.05")


def test_registered_source_counts_towards_the_spending_limit(
    provider: Provider, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "_sources", {})
    spending.register_source("classifiers", lambda since: Decimal("0.5"))
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.5")
    with pytest.raises(spending.SpendingLimitError):
        ask()


def test_free_request_is_sent_despite_a_spending_limit_of_zero(
    provider: Provider, settings: Any
) -> None:
    settings.SPENDING_LIMIT_PER_DAY = Decimal(0)
    settings.IMAGE_PROVIDERS["paid"].update(image_price=Decimal(0), detection_price=Decimal(0))
    ask()
    tasks.submit()
    assert provider.calls
    assert rates.read_bucket("paid") == rates.Bucket()

"""Prompt trials: their numbers, the job, and the pages."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

import moderation.tasks
from generation.models import GenerationRequest, Source
from moderation.judgement.estimates import estimate_wilson
from moderation.models import Classification, Decision, PromptTrial, Review
from moderation.prompt_rules import parse_rule
from moderation.services import decisions, prompt_trial_counts, prompt_trials, trial_runs
from moderation.services.costs import list_unbilled
from moderation.services.prompt_trials import PromptPlan, PromptTrialError
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db
MakeRequest = Callable[..., GenerationRequest]
LIST = "/insights/prompts/"
RULE = "dagger\nboat AND NOT harbour"
ALLOWED = "paper dagger"
PROMPTS = [
    "a red dagger",
    "a paper dagger",
    "a boat",
    "a boat in the harbour",
    "a dagger on a boat",
    "a kite",
]


@pytest.fixture
def past(
    make_review: MakeReview, make_request: MakeRequest, moderator: User, senior: User
) -> list[GenerationRequest]:
    """Return 24 requests with different outcomes, costs and classifiers."""
    draw = random.Random(7)
    found = []
    for n in range(24):
        images = n % 3
        request = make_request(
            prompt=PROMPTS[n % 6],
            image_num=max(1, images),
            seed=n,
            cost=None if n % 5 == 4 else Decimal("0.0015") * (n + 1),
        )
        for position in range(images):
            review = make_review(source=Source.TXT2IMG, request=request, position=position)
            Classification.objects.create(
                asset=review.asset,
                classifier=("nanogpt", "novita")[position],
                version="1",
                status="done",
                cost=Decimal("0.002"),
            )
            choice = draw.choice(["approve", "reject", "escalate", "", "reversed"])
            if choice == "reversed":
                decisions.reverse(decision=judge(review, moderator, "approve"), user=moderator)
            elif choice:
                judge(review, moderator, choice)
        found.append(request)
    return found


def is_blocked_naively(prompt: str) -> bool:
    words = prompt.replace("paper dagger", "").split()
    return "dagger" in words or ("boat" in words and "harbour" not in words)


def compute(**options: Any) -> dict[str, Any]:
    return prompt_trials.compute(PromptPlan.of(parse_rule(RULE, ALLOWED), 30), **options)


def test_figures_equal_a_computation_request_by_request(
    past: list[GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_trial_counts, "AT_ONCE", 5)

    figures = compute()

    blocked = [request for request in past if is_blocked_naively(request.prompt)]
    images = list(Review.objects.filter(asset__request__in=blocked).select_related("asset"))
    everything = list(Review.objects.all())
    looks = [
        row
        for row in Decision.objects.filter(review__in=images, by_policy=False)
        if row.verdict != "reopen"
    ]
    paid = Classification.objects.filter(
        asset__in=[review.asset for review in images], classifier="nanogpt"
    )

    def count(reviews: list[Review], status: str) -> int:
        return sum(review.status == status for review in reviews)

    approved, rejected = count(images, "approved"), count(images, "rejected")
    assert figures["requests"]["blocked"]["hits"] == len(blocked)
    assert figures["requests"]["counted"] == figures["requests"]["expected"] == 24
    assert figures["usd"]["generation"] == pytest.approx(
        float(sum(request.cost or 0 for request in blocked))
    )
    assert figures["usd"]["generation_of_all"] == pytest.approx(
        float(sum(request.cost or 0 for request in past))
    )
    expected = 0.0 if "nanogpt" in list_unbilled() else 0.002 * paid.count()
    assert figures["usd"]["classifiers"] == pytest.approx(expected)
    assert figures["images"] == {
        "all": len(everything),
        "blocked": len(images),
        "approved": approved,
        "approved_by_people": approved,
        "rejected": rejected,
        "waiting": len(images) - approved - rejected,
    }
    lost = estimate_wilson(approved, approved + rejected, minimum=1)
    assert (figures["lost"]["value"], figures["lost"]["low"]) == (lost.value, lost.low)
    assert figures["prevented_of_rejected"]["n"] == count(everything, "rejected")
    assert figures["lost_of_approved"]["n"] == count(everything, "approved")
    assert figures["looks"]["saved"] == len(looks)
    timed = [float(row.seconds) for row in looks if row.seconds is not None]
    median = statistics.median(timed) if timed else None
    assert figures["looks"]["median_seconds"] == median
    by_term = {row["term"]: row for row in figures["terms"]}
    assert by_term["dagger"]["requests"] == sum(
        "dagger" in request.prompt.replace("paper dagger", "") for request in past
    )
    assert by_term["boat"]["only"] == sum(request.prompt == "a boat" for request in past)


def test_sample_of_few_requests_is_all_of_them(past: list[GenerationRequest]) -> None:
    whole = compute()

    assert compute(only_sample=True) == {**whole, "since": mock.ANY}


def test_sample_is_a_part_that_says_so(
    past: list[GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_trials, "SAMPLED", 10)

    figures = compute(only_sample=True)

    assert figures["requests"]["counted"] == 10
    assert figures["requests"]["expected"] == 24


def test_only_requests_of_the_window_are_counted(past: list[GenerationRequest]) -> None:
    old = [request.pk for request in past[:20]]
    GenerationRequest.objects.filter(pk__in=old).update(
        created_at=timezone.now() - timedelta(days=31)
    )

    assert compute()["requests"]["counted"] == 4


def test_interrupted_trial_goes_on_where_it_stopped(
    past: list[GenerationRequest], senior: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_trials, "STEP", 5)
    monkeypatch.setattr(prompt_trial_counts, "AT_ONCE", 5)
    monkeypatch.setattr(prompt_trials, "AT_ONCE", 5)
    trial = prompt_trials.start(rule=RULE, allowed=ALLOWED, days=30, user=senior)

    prompt_trials.run_due(go_on=iter([True, False, False]).__next__)
    trial.refresh_from_db()
    assert (trial.status, trial.requests) == ("running", 5)
    # A worker dies during the next step: its lease ends.
    PromptTrial.objects.claim(limit=1, lease=timedelta(minutes=2), count_attempt=True)
    PromptTrial.objects.update(due_at=timezone.now())
    moderation.tasks.try_prompt_rules()

    trial.refresh_from_db()
    assert trial.status == "finished"
    assert trial.result == json.loads(json.dumps({**compute(), "since": trial.result["since"]}))


def test_trial_that_was_cancelled_stays_cancelled(
    past: list[GenerationRequest], client_of: ClientOf, senior: User
) -> None:
    trial = prompt_trials.start(rule=RULE, allowed="", days=30, user=senior)
    client = client_of(senior)

    assert client.post(f"{LIST}{trial.uuid}/cancellation/").status_code == 303
    moderation.tasks.try_prompt_rules()

    trial.refresh_from_db()
    assert (trial.status, trial.result) == ("cancelled", {})
    page = client.get(f"{LIST}{trial.uuid}/", headers={"HX-Request": "true"}).content.decode()
    assert "every 2s" not in page


def test_trial_that_kills_its_worker_is_given_up(past: list[Any], senior: User) -> None:
    trial = prompt_trials.start(rule=RULE, allowed="", days=30, user=senior)
    PromptTrial.objects.update(attempts=trial_runs.ATTEMPTS_MAX)

    moderation.tasks.try_prompt_rules()

    trial.refresh_from_db()
    assert (trial.status, trial.due_at) == ("failed", None)


def test_fourth_trial_at_the_same_time_is_refused(past: list[Any], senior: User) -> None:
    for _ in range(prompt_trials.RUNNING_MAX):
        prompt_trials.start(rule=RULE, allowed="", days=30, user=senior)
    with pytest.raises(PromptTrialError, match="trials are running"):
        prompt_trials.start(rule=RULE, allowed="", days=30, user=senior)


def test_command_prints_the_figures_of_the_page(
    past: list[GenerationRequest], client_of: ClientOf, lead: User
) -> None:
    out = StringIO()
    call_command("try_prompt_rule", RULE, allow=[ALLOWED], json=True, stdout=out)
    document = json.loads(out.getvalue())
    client = client_of(lead)
    made = client.post(LIST, {"rule": RULE, "allowed": ALLOWED, "days": "30"})
    moderation.tasks.try_prompt_rules()

    shown = client.get(f"{made.url}figures.json").json()
    assert shown == {**document, "since": mock.ANY}
    assert "kept" not in shown
    text = StringIO()
    call_command("try_prompt_rule", RULE, stdout=text)
    assert "Blocked: " in text.getvalue()
    with pytest.raises(CommandError, match="quotation mark"):
        call_command("try_prompt_rule", '"open')


def test_page_shows_the_figures_and_hides_images_from_operators(
    past: list[GenerationRequest],
    client_of: ClientOf,
    senior: User,
    operator: User,
    django_assert_max_num_queries: Any,
) -> None:
    client = client_of(senior)
    url = client.post(LIST, {"rule": RULE, "allowed": ALLOWED, "days": "30"}).url
    moderation.tasks.try_prompt_rules()
    client.get(url)
    with django_assert_max_num_queries(10):
        page = client.get(url).content.decode()

    assert "Loupe blocks no request" in page
    assert "Approved images that would have been lost" in page
    assert "/search/?q=%22dagger%22&amp;status=approved" in page
    other = client_of(operator).get(url).content.decode()
    assert "Approved images that would have been lost" not in other
    assert "/search/?q=%22dagger" not in other
    again = client.get(f"{LIST}?from={url.split('/')[-2]}").content.decode()
    assert "boat AND NOT harbour</textarea>" in again


@pytest.mark.parametrize(
    ("rule", "message"),
    [("", "Write at least one word"), ("NOT boat", "without any of its words"), ("(a", "is open")],
)
def test_unreadable_rule_returns_422_with_a_sentence(
    client_of: ClientOf, senior: User, rule: str, message: str
) -> None:
    answer = client_of(senior).post(LIST, {"rule": rule, "allowed": "", "days": "30"})

    assert answer.status_code == 422
    assert message in answer.content.decode()


def test_window_without_requests_returns_422(client_of: ClientOf, senior: User) -> None:
    answer = client_of(senior).post(LIST, {"rule": "boat", "allowed": "", "days": "7"})

    assert answer.status_code == 422
    assert "There are no requests" in answer.content.decode()


def test_auditor_reads_but_starts_nothing(client_of: ClientOf, auditor: User) -> None:
    client = client_of(auditor)

    assert client.get(LIST).status_code == 200
    assert client.post(LIST, {"rule": "boat", "days": "7"}).status_code == 403

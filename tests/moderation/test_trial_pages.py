"""Pages of trials: start, read, cancel, and judge what changes."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

import moderation.tasks
from moderation.models import (
    Decision,
    Policy,
    PolicyTrial,
    Preferences,
    Review,
    TrialJudgement,
)
from moderation.presenters import trials as presenter
from moderation.services import trials
from tests.moderation.page_helpers import HTMX, ClientOf
from tests.moderation.trial_helpers import make_policies, make_record

pytestmark = pytest.mark.django_db
CELL = "policy-person-approve"


@pytest.fixture
def pair(lead: User, moderator: User, other_moderator: User) -> tuple[Policy, Policy]:
    """Return a baseline and a candidate, with a record of 200 reviews."""
    found = make_policies(lead)
    make_record(200, people=[moderator, other_moderator], policy=found[0])
    return found


@pytest.fixture
def trial(pair: tuple[Policy, Policy], lead: User) -> PolicyTrial:
    """Return a finished trial."""
    baseline, candidate = pair
    made = trials.start(candidate=candidate, baseline=baseline, days=30, user=lead)
    moderation.tasks.try_policies()
    made.refresh_from_db()
    return made


def get_page(client: Any, trial: PolicyTrial, **extra: Any) -> str:
    answer = client.get(reverse("moderation:policy-trial-detail", args=[trial.uuid]), **extra)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def judge(client: Any, trial: PolicyTrial, review: Review, **data: str) -> Any:
    address = reverse("moderation:policy-trial-judgement", args=[trial.uuid])
    return client.post(
        address, {"review": str(review.uuid), "cell": CELL, "answer": "right", **data}
    )


def find_shown(trial: PolicyTrial) -> list[Review]:
    kept = trials.find_kept(trial)[CELL]
    rows = Review.objects.in_bulk(kept)
    return [rows[pk] for pk in kept]


def test_lead_starts_a_trial_and_sees_a_sample_before_the_result(
    pair: tuple[Policy, Policy], lead: User, moderator: User, client_of: ClientOf
) -> None:
    candidate, browser = pair[1], client_of(lead)
    start = reverse("moderation:policy-trial-list", args=[candidate.version])
    assert "Try it" in browser.get(start).content.decode()

    answer = browser.post(start, {"days": "30"})

    trial = PolicyTrial.objects.get()
    assert answer.url == reverse("moderation:policy-trial-detail", args=[trial.uuid])
    page = get_page(browser, trial)
    assert 'hx-trigger="every 2s"' in page
    assert "a day would go to people" in page
    again = browser.post(start, {"days": "30"})
    assert (again.status_code, "is running" in again.content.decode()) == (422, True)

    moderation.tasks.try_policies()

    trial.refresh_from_db()
    page = get_page(client_of(moderator), trial)
    assert "hx-trigger" not in page
    assert trial.result["changed"]["bias"] in page
    assert f"?cell={CELL}" in page
    assert "Wrong approvals, by blind audits alone" in page
    part = get_page(browser, trial, headers=HTMX)
    assert "<html" not in part


def test_json_of_the_page_is_the_document_of_the_command(
    trial: PolicyTrial, moderator: User, client_of: ClientOf
) -> None:
    answer = client_of(moderator).get(reverse("moderation:policy-trial-json", args=[trial.uuid]))

    document = presenter.build_document(
        candidate=trial.candidate.version, baseline=trial.baseline.version, figures=trial.result
    )
    assert answer.json() == {**document, "status": "finished", "judgements": []}
    assert "kept" not in answer.json()


def test_unusable_input_is_answered_with_a_sentence(
    pair: tuple[Policy, Policy], lead: User, client_of: ClientOf
) -> None:
    address = reverse("moderation:policy-trial-list", args=[pair[1].version])
    browser = client_of(lead)

    for data, message in (
        ({}, "Choose how many days"),
        ({"days": "30", "against": "99"}, "There is no version 99"),
    ):
        answer = browser.post(address, data)
        assert (answer.status_code, message in answer.content.decode()) == (422, True)
    assert not PolicyTrial.objects.exists()


def test_cancelled_trial_keeps_the_sample_and_says_so(
    pair: tuple[Policy, Policy], lead: User, moderator: User, client_of: ClientOf
) -> None:
    baseline, candidate = pair
    trial = trials.start(candidate=candidate, baseline=baseline, days=30, user=lead)
    address = reverse("moderation:policy-trial-cancel", args=[trial.uuid])
    assert client_of(moderator).post(address).status_code == 403

    page = client_of(lead).post(address, follow=True).content.decode()

    assert "The figures of the sample stay" in page
    assert "Cancelled" in page


def test_judgement_counts_in_the_trial_and_changes_no_review(
    trial: PolicyTrial, lead: User, moderator: User, client_of: ClientOf
) -> None:
    review, other = find_shown(trial)[:2]
    before = (Review.objects.values().get(pk=review.pk), Decision.objects.count())
    browser = client_of(lead)

    part = browser.post(
        reverse("moderation:policy-trial-judgement", args=[trial.uuid]),
        {"review": str(review.uuid), "cell": CELL, "answer": "wrong"},
        headers=HTMX,
    ).content.decode()
    judge(browser, trial, review)  # a change of mind
    judge(client_of(moderator), trial, other, answer="wrong")

    assert 'data-answer="wrong"' in part
    assert set(TrialJudgement.objects.values_list("review", "person", "answer")) == {
        (review.pk, lead.pk, "right"),
        (other.pk, moderator.pk, "wrong"),
    }
    page = get_page(browser, trial)
    assert "To a person → approved" in page
    assert "50.0 % (9.5 to 90.5 %), 1 of 2" in page
    assert before == (Review.objects.values().get(pk=review.pk), Decision.objects.count())


def test_images_outside_the_trial_and_unknown_answers_are_refused(
    trial: PolicyTrial, lead: User, auditor: User, client_of: ClientOf
) -> None:
    shown = find_shown(trial)
    stranger = Review.objects.exclude(pk__in=[row.pk for row in shown])[0]
    browser = client_of(lead)

    assert judge(browser, trial, stranger).status_code == 422
    assert judge(browser, trial, shown[0], answer="maybe").status_code == 422
    assert judge(client_of(auditor), trial, shown[0]).status_code == 403
    assert not TrialJudgement.objects.exists()


def test_images_that_wait_for_a_blind_check_are_left_out(
    trial: PolicyTrial, lead: User, moderator: User, other_moderator: User, client_of: ClientOf
) -> None:
    audited, own, opinion = find_shown(trial)[:3]
    decided = {"status": "approved", "decided_at": timezone.now(), "second_opinion": "wanted"}
    Review.objects.filter(pk=audited.pk).update(**decided, decided_by=None)
    Review.objects.filter(pk=opinion.pk).update(**decided, decided_by=moderator)
    Review.objects.filter(pk=own.pk).update(requested_by=moderator)
    address = presenter.get_images_url(trial, CELL)

    first = client_of(moderator).get(address).content.decode()
    second = client_of(other_moderator).get(address).content.decode()

    assert (str(audited.uuid) in first, str(own.uuid) in first) == (False, False)
    assert str(opinion.uuid) in first
    assert (str(audited.uuid) in second, str(opinion.uuid) in second) == (False, False)
    assert "2</span> images left out" in first
    assert str(audited.uuid) in client_of(lead).get(address).content.decode()
    assert judge(client_of(moderator), trial, audited).status_code == 404


def test_images_are_blurred_by_preference_and_paged(
    trial: PolicyTrial, lead: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presenter, "TILES", 5)
    browser = client_of(lead)
    shown = find_shown(trial)

    page = browser.get(presenter.get_images_url(trial, CELL)).content.decode()
    assert page.count("data-thumbnail") == 5
    assert "page=2" in page
    Preferences.objects.create(user=lead, blur=False)
    last = browser.get(presenter.get_images_url(trial, CELL, "999")).content.decode()

    assert "data-thumbnail" not in last
    assert str(shown[-1].uuid) in last


def test_pages_need_few_queries_however_many_images(
    trial: PolicyTrial, lead: User, client_of: ClientOf, django_assert_max_num_queries: Any
) -> None:
    browser = client_of(lead)
    for address in (
        reverse("moderation:policy-trial-list", args=[trial.candidate.version]),
        reverse("moderation:policy-trial-detail", args=[trial.uuid]),
        presenter.get_images_url(trial, CELL),
    ):
        browser.get(address)
        with django_assert_max_num_queries(10):
            browser.get(address)


def test_window_leaves_out_older_images(pair: tuple[Policy, Policy], lead: User) -> None:
    baseline, candidate = pair
    Review.objects.update(created_at=timezone.now() - timedelta(days=8))
    newest = Review.objects.exclude(status="classifying").last()
    assert newest is not None
    Review.objects.filter(pk=newest.pk).update(created_at=timezone.now())

    trial = trials.start(candidate=candidate, baseline=baseline, days=7, user=lead)

    assert trial.expected == 1

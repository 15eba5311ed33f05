"""Proposals: a draft, a reason, a second person, in force at once or at a time, and back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import Error, connection, connections, transaction
from django.test import Client
from django.utils import timezone

from generation import jobs
from moderation.models import Policy, PolicyActivation, PolicyProposal, PolicyRule
from moderation.services import policies, proposals

ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db
NEEDS_PERSON = "A second person must approve this change: you proposed it."


@pytest.fixture
def second(db: None) -> User:
    user = User.objects.create_user("second")
    user.groups.add(Group.objects.get(name="policy lead"))
    return user


@pytest.fixture
def draft(lead: User) -> Policy:
    """Return a draft that reviews violence later."""
    made = policies.create_version(based_on=Policy.objects.active(), user=lead, name="Calmer")
    PolicyRule.objects.filter(policy=made, category="violence").update(review_at=40)
    return made


def propose(browser: Client, draft: Policy, **data: Any) -> Any:
    given = {"reason": "Too many false alarms.", "starts": "now", **data}
    return browser.post(f"/policies/{draft.version}/proposal/", given)


def find_proposal() -> PolicyProposal:
    return PolicyProposal.objects.select_related("policy").latest("pk")


def steps(proposal: PolicyProposal, step: str) -> str:
    return f"/policies/proposals/{proposal.uuid}/{step}/"


def test_second_person_approves_and_one_event_has_author_reason_and_changes(
    lead: User, second: User, draft: Policy, client_of: ClientOf
) -> None:
    before = Policy.objects.active()
    assert propose(client_of(lead), draft).status_code == 303
    own = client_of(lead).post(steps(find_proposal(), "approval"))
    assert own.status_code == 409
    assert NEEDS_PERSON in own.content.decode()
    assert Policy.objects.active() == before

    page = client_of(second).get(f"/policies/{draft.version}/proposal/").content.decode()
    assert "Too many false alarms." in page
    assert "a person from 40; rejected from 95" in page
    client_of(second).post(steps(find_proposal(), "approval"))

    assert Policy.objects.active() == draft
    event = PolicyActivation.objects.latest("pk")
    assert (event.policy, event.previous, event.author, event.activated_by, event.reason) == (
        draft,
        before,
        lead,
        second,
        "Too many false alarms.",
    )
    assert event.changes == [
        {
            "label": "Violence",
            "old": "a person from 30; rejected from 95",
            "new": "a person from 40; rejected from 95",
        }
    ]
    timeline = client_of(lead).get("/policies/").content.decode()
    assert "Proposed by <bdi>lead</bdi>, approved by <bdi>second</bdi>." in timeline


def test_only_lead_puts_a_draft_into_force_alone(
    lead: User, draft: Policy, admin: User, client_of: ClientOf
) -> None:
    propose(client_of(lead), draft, approve="1")

    assert Policy.objects.active() == draft
    event = PolicyActivation.objects.latest("pk")
    assert (event.author, event.activated_by) == (lead, lead)


@pytest.mark.parametrize(("setting", "is_needed"), [("always", True), ("never", False)])
def test_setting_decides_whether_a_second_person_is_needed(
    lead: User, draft: Policy, client_of: ClientOf, settings: Any, setting: str, is_needed: bool
) -> None:
    settings.POLICY_NEEDS_SECOND_PERSON = setting

    propose(client_of(lead), draft, approve="1")

    assert (Policy.objects.active() != draft) == is_needed


def test_deactivated_lead_is_no_second_person(lead: User, second: User) -> None:
    assert proposals.needs_second_person()
    User.objects.filter(pk=second.pk).update(is_active=False)
    assert not proposals.needs_second_person()


def test_proposal_without_a_reason_returns_422_with_a_sentence(
    lead: User, draft: Policy, client_of: ClientOf
) -> None:
    answer = propose(client_of(lead), draft, reason="  ")

    assert answer.status_code == 422
    assert "Say why the policy should change." in answer.content.decode()
    assert not PolicyProposal.objects.exists()


def test_draft_without_changes_offers_no_proposal(lead: User, client_of: ClientOf) -> None:
    same = policies.create_version(based_on=Policy.objects.active(), user=lead)

    page = client_of(lead).get(f"/policies/{same.version}/proposal/").text

    assert "This draft says the same as the policy in force." in page
    assert "Put into force" not in page


def test_returned_proposal_shows_its_comment_and_may_be_proposed_again(
    lead: User, second: User, draft: Policy, client_of: ClientOf
) -> None:
    propose(client_of(lead), draft)
    first = find_proposal()
    assert client_of(second).post(steps(first, "return"), {"comment": " "}).status_code == 422
    client_of(second).post(steps(first, "return"), {"comment": "Why not 50?"})

    page = client_of(lead).get(f"/policies/{draft.version}/proposal/").content.decode()
    assert "Why not 50?" in page
    assert client_of(second).post(steps(first, "approval")).status_code == 409
    propose(client_of(lead), draft, reason="Because 40 is enough.")
    client_of(second).post(steps(find_proposal(), "approval"))
    assert PolicyActivation.objects.latest("pk").reason == "Because 40 is enough."


def test_edit_in_the_admin_voids_a_proposal(
    lead: User, second: User, draft: Policy, client_of: ClientOf
) -> None:
    propose(client_of(lead), draft)
    PolicyRule.objects.filter(policy=draft, category="violence").update(review_at=90)

    answer = client_of(second).post(steps(find_proposal(), "approval"))

    assert answer.status_code == 409
    assert "The draft was changed after it was proposed." in answer.content.decode()
    assert Policy.objects.active() != draft


def schedule(lead: User, second: User, draft: Policy, client_of: ClientOf) -> PolicyProposal:
    """Propose a draft for tomorrow, and approve it."""
    at = timezone.now() + timedelta(days=1)
    propose(client_of(lead), draft, starts="later", starts_at=f"{at:%Y-%m-%dT%H:%M}")
    client_of(second).post(steps(find_proposal(), "approval"))
    return find_proposal()


def test_scheduled_policy_goes_into_force_at_its_time(
    lead: User, second: User, draft: Policy, client_of: ClientOf
) -> None:
    proposal = schedule(lead, second, draft, client_of)
    jobs.find("policies")()
    assert Policy.objects.active() != draft
    assert "Scheduled" in client_of(lead).get("/policies/").content.decode()

    PolicyProposal.objects.filter(pk=proposal.pk).update(due_at=timezone.now())
    jobs.find("policies")()
    jobs.find("policies")()

    assert Policy.objects.active() == draft
    event = PolicyActivation.objects.get(policy=draft)
    assert (event.author, event.activated_by) == (lead, second)
    assert find_proposal().due_at is None


def test_cancelled_schedule_changes_nothing(
    lead: User, second: User, draft: Policy, client_of: ClientOf
) -> None:
    proposal = schedule(lead, second, draft, client_of)

    client_of(lead).post(steps(proposal, "cancellation"))

    assert find_proposal().status == PolicyProposal.Status.WITHDRAWN
    assert not PolicyProposal.objects.due().exists()
    jobs.find("policies")()
    assert Policy.objects.active() != draft


@pytest.mark.parametrize("starts_at", ["", "yesterday", "2001-01-01T00:00"])
def test_impossible_time_is_refused_with_a_sentence(
    lead: User, draft: Policy, client_of: ClientOf, starts_at: str
) -> None:
    answer = propose(client_of(lead), draft, starts="later", starts_at=starts_at)

    assert answer.status_code in (409, 422)
    assert not PolicyProposal.objects.exists()


def test_rollback_is_a_new_version_with_the_old_rules(
    lead: User, draft: Policy, client_of: ClientOf
) -> None:
    browser, old = client_of(lead), Policy.objects.active()
    propose(browser, draft, approve="1")

    answer = browser.post("/policies/drafts/", {"version": old.version, "purpose": "rollback"})
    copy = Policy.objects.latest("version")
    assert answer["Location"] == f"/policies/{copy.version}/proposal/"
    propose(browser, copy, reason="It rejected too much.", approve="1")

    assert Policy.objects.active() == copy
    assert copy not in (old, draft)
    assert PolicyActivation.objects.filter(policy=old).count() == 1
    assert PolicyActivation.objects.latest("pk").changes == [
        {
            "label": "Violence",
            "old": "a person from 40; rejected from 95",
            "new": "a person from 30; rejected from 95",
        }
    ]


def test_version_that_was_in_force_cannot_be_proposed(lead: User, client_of: ClientOf) -> None:
    answer = propose(client_of(lead), Policy.objects.active())

    assert answer.status_code == 409
    assert "Make a draft of it." in answer.content.decode()


def test_events_that_put_policies_into_force_never_change(lead: User, draft: Policy) -> None:
    event = policies.activate(policy=draft, user=lead)

    with pytest.raises(Error, match="append-only"), transaction.atomic():
        PolicyActivation.objects.filter(pk=event.pk).update(reason="Another one.")


@pytest.mark.django_db(transaction=True)
def test_two_approvals_at_once_make_one_event(lead: User, second: User, draft: Policy) -> None:
    third = User.objects.create_user("third")
    third.groups.add(Group.objects.get(name="policy lead"))
    proposal = proposals.propose(policy=draft, author=lead, reason="Too many false alarms.")
    barrier, results = threading.Barrier(2), []

    def approve(user: User) -> None:
        own = PolicyProposal.objects.select_related("policy").get(pk=proposal.pk)
        barrier.wait()
        try:
            proposals.approve(proposal=own, user=user)
            results.append("approved")
        except proposals.ProposalError:
            results.append("too late")
        finally:
            connections[connection.alias].close()

    threads = [threading.Thread(target=approve, args=[user]) for user in (second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["approved", "too late"]
    assert PolicyActivation.objects.filter(policy=draft).count() == 1

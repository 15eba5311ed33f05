"""Pages of policies: readable by every moderator, drafts by policy leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from moderation.models import Policy
from moderation.services import policies

ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def test_moderator_reads_the_policy_in_force_but_makes_no_draft(
    moderator: User, client_of: ClientOf
) -> None:
    browser, active = client_of(moderator), Policy.objects.active()

    page = browser.get("/policies/").content.decode()
    assert active.name in page
    assert "Make a draft" not in page
    detail = browser.get(f"/policies/{active.version}/").content.decode()
    assert "A person from 20" in detail  # explicit
    assert "Make a draft" not in detail
    assert browser.post("/policies/drafts/", {"version": active.version}).status_code == 403


def test_lead_makes_a_draft_of_the_policy_in_force(lead: User, client_of: ClientOf) -> None:
    browser, active = client_of(lead), Policy.objects.active()

    answer = browser.post("/policies/drafts/", {"version": active.version}, follow=True)

    draft = Policy.objects.get(version=active.version + 1)
    assert answer.redirect_chain == [(f"/policies/{draft.version}/", 303)]
    assert (draft.created_by, draft.is_active) == (lead, False)
    assert draft.rules.count() == active.rules.count()
    assert f'href="/policies/{draft.version}/"' in browser.get("/policies/").content.decode()


@pytest.mark.parametrize("version", ["", "x", "999", "9" * 5000])
def test_draft_of_an_unknown_version_is_refused_with_a_sentence(
    lead: User, client_of: ClientOf, version: str
) -> None:
    answer = client_of(lead).post("/policies/drafts/", {"version": version}, follow=True)

    assert "Choose the version or the starting policy to begin with." in answer.content.decode()
    assert Policy.objects.count() == 1


def test_versions_that_were_in_force_are_no_drafts(lead: User, client_of: ClientOf) -> None:
    first = Policy.objects.active()
    second = policies.create_version(based_on=first, user=lead, name="Second")
    policies.activate(policy=second, user=lead)

    page: Any = client_of(lead).get("/policies/")
    history = client_of(lead).get(f"/policies/{second.version}/history/").content.decode()

    assert list(page.context["drafts"]) == []
    assert [event.policy for event in page.context["events"]][:2] == [second, first]
    assert "Put into force by <bdi>lead</bdi>" in history

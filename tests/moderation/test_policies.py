"""Policies are versions; putting one into force is on record."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client

from moderation.models import Policy, PolicyActivation
from moderation.services import policies

ClientOf = Callable[[User], Client]
LIST = "/admin/moderation/policy/"


def test_a_policy_lead_copies_changes_and_activates_and_all_of_it_is_on_record(lead: User, client_of: ClientOf) -> None:
    browser, first = client_of(lead), Policy.objects.active()

    browser.post(LIST, {"action": "copy", "_selected_action": [first.pk]})
    second = Policy.objects.get(version=2)
    assert (second.created_by, second.is_active, second.rules.count()) == (lead, False, first.rules.count())
    for policy in (second, first, second):
        browser.post(LIST, {"action": "put_into_force", "_selected_action": [policy.pk]})

    assert Policy.objects.active() == second
    made = PolicyActivation.objects.order_by("pk")
    assert [(row.policy, row.activated_by) for row in made] == [(second, lead), (first, lead), (second, lead)]
    page = browser.get(f"{LIST}{second.pk}/history/").content.decode()
    assert "Copied from version 1." in page
    assert "Put into force." in page


def test_a_policy_in_force_or_in_the_record_cannot_be_edited(lead: User, client_of: ClientOf) -> None:
    active = Policy.objects.active()

    answer = client_of(lead).post(f"{LIST}{active.pk}/change/", {"name": "forged", "nsfw_level": 2})

    assert answer.status_code == 403
    assert Policy.objects.active().name == active.name


def test_others_may_look_at_policies_but_not_activate_them(auditor: User, client_of: ClientOf) -> None:
    second = policies.create_version(based_on=Policy.objects.active(), user=None)

    client_of(auditor).post(LIST, {"action": "put_into_force", "_selected_action": [second.pk]})

    assert Policy.objects.active() != second
    assert client_of(auditor).get(f"{LIST}{second.pk}/change/").status_code == 200

"""Heads in the admin site."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from moderation.models import Head, HeadChange
from tests.moderation.learned.house import ClientOf, make_head

pytestmark = pytest.mark.django_db
LIST = "admin:moderation_head_changelist"
REASON = "9 of 12 flagged images have the category."


def act(client: Any, action: str, head: Head) -> str:
    data = {"action": action, "_selected_action": [head.pk]}
    return client.post(reverse(LIST), data, follow=True).content.decode()


def test_list_says_what_keeps_a_head_from_its_next_step(client_of: ClientOf, auditor: User) -> None:
    head = make_head("advisory", failures=[{"condition": "precision", "reason": REASON}])
    client = client_of(auditor)

    assert REASON in client.get(reverse(LIST)).content.decode()
    page = client.get(reverse("admin:moderation_head_change", args=[head.pk])).content.decode()
    assert "images have the category, a precision of at least" in page
    assert head.artefact not in page


def test_policy_lead_promotes_and_retires(client_of: ClientOf, lead: User) -> None:
    head, client = make_head(), client_of(lead)

    assert "Advisory: sorts the queue" in act(client, "promote", head)
    assert "Active: sends images to people" in act(client, "promote_to_reject", head)
    head.refresh_from_db()
    assert (head.status, head.may_reject) == ("active", True)
    assert "Retired" in act(client, "retire", head)
    assert HeadChange.objects.filter(author=lead).count() == 3
    assert "is retired already" in act(client, "retire", head)


def test_head_that_fails_the_gate_is_not_promoted(client_of: ClientOf, lead: User) -> None:
    head = make_head(failures=[{"condition": "log-loss", "reason": "It is no better."}])

    assert "cannot be promoted. It is no better." in act(client_of(lead), "promote", head)

    head.refresh_from_db()
    assert head.status == "shadow"


def test_auditor_cannot_promote(client_of: ClientOf, auditor: User) -> None:
    head = make_head()

    act(client_of(auditor), "promote", head)

    head.refresh_from_db()
    assert head.status == "shadow"

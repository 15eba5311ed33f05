"""Entries of the command palette: queues and ids, as the person may see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from generation.models import GenerationRequest
from moderation.models import Decision, Review
from tests.moderation.page_helpers import ClientOf, decide, make_claimed_review

pytestmark = pytest.mark.django_db


def load(client: Any, text: str = "") -> list[tuple[str, str]]:
    response = client.get("/palette/", {"q": text} if text else {})
    assert response.status_code == 200
    return [(entry["kind"], entry["url"]) for entry in response.json()["entries"]]


def test_palette_lists_the_queues_of_each_role(
    client_of: ClientOf, moderator: User, senior: User, auditor: User
) -> None:
    assert ("Queue", "/queues/waiting/") in load(client_of(moderator))
    assert ("Queue", "/queues/escalated/") not in load(client_of(moderator))
    assert ("Action", "/queues/escalated/claims/") in load(client_of(senior))
    assert load(client_of(auditor)) == []


def test_palette_finds_ids_by_prefix_in_one_query(
    client_of: ClientOf,
    make_review: Callable[..., Review],
    make_request: Callable[..., GenerationRequest],
    moderator: User,
    django_assert_num_queries: Any,
) -> None:
    review = make_claimed_review(make_review, moderator)
    item = make_request()
    client = client_of(moderator)
    decide(client, review, "approve")
    decision = Decision.objects.get()
    url = review.get_absolute_url()

    assert load(client, review.asset.short_id) == [("Image", url)]
    assert load(client, f"#{str(review.uuid)[:8]}") == [("Review", url)]
    assert load(client, str(decision.uuid)) == [("Decision", url)]
    assert load(client, item.short_id) == [("Request", item.get_absolute_url())]
    assert load(client, str(item.uuid)[:5]) == []
    assert load(client, "harbour") == []
    with django_assert_num_queries(3):  # session, person with permissions, ids
        load(client, item.short_id)


def test_ids_lead_people_without_a_queue_to_the_dossier(
    client_of: ClientOf,
    make_review: Callable[..., Review],
    moderator: User,
    auditor: User,
) -> None:
    review = make_claimed_review(make_review, moderator)
    decide(client_of(moderator), review, "approve")
    decision = Decision.objects.get()
    browser = client_of(auditor)
    url = f"/assets/{review.asset.uuid}/"

    assert load(browser, review.asset.short_id) == [("Image", url)]
    assert load(browser, str(review.uuid)) == [("Review", url)]
    assert load(browser, str(decision.uuid)) == [("Decision", url)]
    assert browser.get(url).status_code == 200


def test_palette_hides_ids_without_the_permission(
    client_of: ClientOf,
    make_review: Callable[..., Review],
    make_request: Callable[..., GenerationRequest],
    db: None,
) -> None:
    review, item = make_review(), make_request()
    nobody = client_of(User.objects.create_user("nobody"))
    assert load(nobody, review.asset.short_id) == []
    assert load(nobody, item.short_id) == []

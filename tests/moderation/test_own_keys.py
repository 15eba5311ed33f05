"""Keys that people choose for the actions of the desk."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from moderation.models import Preferences
from tests.moderation.page_helpers import ClientOf, MakeReview, get_review_url, make_claimed_review

APPROVE = 'data-verdict="approve" data-hotkey="{key}" aria-keyshortcuts="{upper}"'


def describe_key(key: str) -> str:
    return APPROVE.format(key=key, upper=key.upper())


def test_chosen_keys_are_printed_on_the_review_page_until_they_are_reset(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_claimed_review(make_review, moderator), client_of(moderator)
    address = reverse("preferences")

    assert client.post(address, {"key-approve": "q", "key-undo": "a"}).status_code == 303

    assert Preferences.objects.get(user=moderator).own_keys == {"approve": "q", "undo": "a"}
    page = client.get(get_review_url(review)).content.decode()
    assert describe_key("q") in page
    assert 'data-hotkey="a" data-label="Undo my last decision"' in page
    client.post(address, {"theme": "light"})
    assert Preferences.objects.get(user=moderator).keys["approve"] == "q"

    client.post(address, {"key-approve": "w", "keys": "usual"})

    assert Preferences.objects.get(user=moderator).own_keys == {}
    assert describe_key("a") in client.get(get_review_url(review)).content.decode()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"key-reject": "a"}, "Reject: A is already the key of Approve."),
        ({"key-reject": "j"}, "Reject: choose one of"),
        ({"key-reject": "?"}, "Reject: choose one of"),
    ],
)
def test_key_of_another_action_or_of_the_page_is_refused(
    given: dict[str, str], message: str, client_of: ClientOf, moderator: User
) -> None:
    response = client_of(moderator).post(reverse("preferences"), given)

    assert response.status_code == 422
    assert message in response.content.decode()
    assert not Preferences.objects.filter(user=moderator).exists()

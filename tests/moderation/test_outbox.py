"""The outbox of unsent decisions is on every page of people who may decide, and only there."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.browser.test_axe import PLAIN
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db


def list_pages_with_outbox(client_of: ClientOf, user: User) -> set[str]:
    client = client_of(user)
    shown = {place: client.get(place) for place in PLAIN}
    return {place for place, page in shown.items() if b'id="outbox"' in page.content}


def test_every_page_of_a_moderator_sends_unsent_decisions(
    client_of: ClientOf, senior: User, auditor: User
) -> None:
    assert list_pages_with_outbox(client_of, senior) == set(PLAIN)
    assert list_pages_with_outbox(client_of, auditor) == set()

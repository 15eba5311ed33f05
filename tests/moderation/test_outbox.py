"""The outbox of unsent decisions is on every page of the desk for people who may decide."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.browser.test_axe import PLAIN
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
# The admin site has pages of its own, which run none of the desk's scripts.
# The question for the password sends people on who have just logged in.
OTHERS = ("/admin/", "/reauthenticate/")
DESK = [place for place in PLAIN if not place.startswith(OTHERS)]


def list_pages_with_outbox(client_of: ClientOf, user: User) -> set[str]:
    client = client_of(user)
    shown = {place: client.get(place) for place in DESK}
    return {place for place, page in shown.items() if b'id="outbox"' in page.content}


def test_every_page_of_a_moderator_sends_unsent_decisions(
    client_of: ClientOf, senior: User, auditor: User
) -> None:
    assert list_pages_with_outbox(client_of, senior) == set(DESK)
    assert list_pages_with_outbox(client_of, auditor) == set()

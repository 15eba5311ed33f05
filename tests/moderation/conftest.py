"""Fixtures for tests of moderation."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from moderation.models import Review
from tests.moderation.contact_sheet_helpers import claim
from tests.moderation.page_helpers import As, Make


@pytest.fixture
def three(make_review: Make) -> list[Review]:
    return [make_review() for _ in range(3)]


@pytest.fixture
def browser(client_of: As, three: list[Review], moderator: User) -> Client:
    """Return the client of a moderator who has claimed a contact sheet of three images."""
    client = client_of(moderator)
    claim(client)
    return client

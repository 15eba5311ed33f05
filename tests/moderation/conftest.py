"""Who sits where, for more than one file."""

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
    """A moderator in front of a sheet of three."""
    client = client_of(moderator)
    claim(client)
    return client

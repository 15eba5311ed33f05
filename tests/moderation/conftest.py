"""Fixtures for tests of moderation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from moderation.models import Review
from moderation.search import sample
from tests.moderation.contact_sheet_helpers import claim_sheet
from tests.moderation.page_helpers import ClientOf, MakeReview


@pytest.fixture
def three(make_review: MakeReview) -> list[Review]:
    return [make_review() for _ in range(3)]


@pytest.fixture
def browser(client_of: ClientOf, three: list[Review], moderator: User) -> Client:
    """Return the client of a moderator who has claimed a contact sheet of three images."""
    client = client_of(moderator)
    claim_sheet(client)
    return client


@pytest.fixture
def empty_search_cache() -> Iterator[None]:
    """Clear the caches of names and samples, because each test has its own images."""
    cache.clear()
    sample.clear_sample()
    yield
    cache.clear()
    sample.clear_sample()

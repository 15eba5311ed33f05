"""Fixtures for tests of learned heads: an encoder, a house with decisions, a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from moderation import taxonomy
from moderation.classifiers import encoders
from moderation.models import Policy
from moderation.services import training_data
from tests.moderation.encoder_helpers import use_mean_colour
from tests.moderation.learned.house import House


@pytest.fixture(autouse=True)
def _encoder(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.CLASSIFIERS = ["learned"]
    use_mean_colour(settings)
    # Embeddings of this very moment count.
    monkeypatch.setattr(training_data, "SETTLED", training_data.SETTLED * 0)
    yield
    encoders.get.cache_clear()


@pytest.fixture
def house(
    make_asset: Callable[..., Any], client_of: Any, moderator: User, other_moderator: User
) -> House:
    return House(make_asset, client_of, moderator, other_moderator)


@pytest.fixture
def approving_policy(db: None) -> Policy:
    """Return the policy in force, which approves what nobody has checked, and watches violence."""
    policy = Policy.objects.active()
    Policy.objects.filter(pk=policy.pk).update(
        approves_imports=True,
        trusted_silences=["opennsfw"],
        accepted_unchecked=[category.slug for category in taxonomy.L1],
    )
    policy.rules.filter(category__startswith="violence").delete()
    policy.rules.create(category="violence", review_at=30, blur_at=50, reject_at=90)
    return Policy.objects.active()

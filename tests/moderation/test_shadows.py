"""Shadows: versions of the policy that judge new images without effect."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

import moderation.tasks
from moderation.models import (
    Policy,
    PolicyShadow,
    Review,
    ShadowCheck,
    ShadowCount,
    ShadowResult,
)
from moderation.services import policies, shadows
from tests.moderation.page_helpers import ClientOf
from tests.moderation.reclassification_helpers import (
    MakeAsset,
    Steered,
    get_review,
    store,
    use_steered,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _steered(settings: Any) -> Iterator[None]:
    use_steered(settings)
    yield
    Steered.results.clear()


@pytest.fixture
def draft(lead: User) -> Policy:
    """Return a draft that also approves imports and rejects "explicit" from 60."""
    made = policies.create_version(
        based_on=Policy.objects.active(), user=lead, approves_imports=True
    )
    made.rules.filter(category="explicit").update(reject_at=60)
    return Policy.objects.get(pk=made.pk)


def get_url(draft: Policy, name: str = "policy-shadow") -> str:
    return reverse(f"moderation:{name}", args=[draft.version])


def test_shadow_counts_all_images_and_keeps_those_that_differ(
    make_asset: MakeAsset, draft: Policy, lead: User, moderator: User, client_of: ClientOf
) -> None:
    client_of(lead).post(get_url(draft))
    clean, explicit, unsure = store(make_asset), store(make_asset, 70), store(make_asset, 30)
    before = list(Review.objects.order_by("pk").values())

    moderation.tasks.judge_as_shadow()

    assert set(ShadowCount.objects.values_list("old", "new", "images")) == {
        ("person", "approve", 1),
        ("person", "reject", 1),
        ("person", "person", 1),
    }
    assert set(ShadowResult.objects.values_list("review__asset", "old", "new")) == {
        (clean.pk, "person", "approve"),
        (explicit.pk, "person", "reject"),
    }
    assert not ShadowCheck.objects.exists()
    assert list(Review.objects.order_by("pk").values()) == before
    page = client_of(moderator).get(get_url(draft)).content.decode()
    assert "of 3 settled images" in page
    assert str(get_review(clean).uuid) in page
    assert str(get_review(unsure).uuid) not in page
    assert "?change=person-reject#differing" in page
    assert "?change=person-person" not in page
    page = client_of(moderator).get(get_url(draft), {"change": "person-reject"}).content.decode()
    assert str(get_review(explicit).uuid) in page
    assert str(get_review(clean).uuid) not in page


def test_settling_costs_nothing_without_a_shadow(
    make_asset: MakeAsset, draft: Policy, lead: User
) -> None:
    store(make_asset)
    assert not ShadowCheck.objects.exists()

    shadows.start(policy=draft, user=lead)
    store(make_asset)
    assert ShadowCheck.objects.count() == 1

    shadows.end(policy=draft, reason="Enough.")
    moderation.tasks.judge_as_shadow()
    store(make_asset)
    assert not ShadowCheck.objects.exists()
    assert not ShadowCount.objects.exists()


def test_shadow_keeps_the_rules_of_its_start(
    make_asset: MakeAsset, draft: Policy, lead: User, client_of: ClientOf
) -> None:
    shadows.start(policy=draft, user=lead)
    draft.rules.filter(category="explicit").update(reject_at=None)

    store(make_asset, 70)
    moderation.tasks.judge_as_shadow()

    assert ShadowResult.objects.get().new == "reject"
    assert "The draft was changed since" in client_of(lead).get(get_url(draft)).content.decode()


def test_shadow_ends_when_its_version_comes_into_force_or_is_stopped(
    draft: Policy, lead: User, moderator: User, client_of: ClientOf
) -> None:
    browser = client_of(lead)
    browser.post(get_url(draft))
    assert client_of(moderator).post(get_url(draft)).status_code == 403
    browser.post(get_url(draft, "policy-shadow-cancel"))
    first = PolicyShadow.objects.get()
    assert (first.ended_at is not None, first.end_reason) == (True, "Ended by lead.")

    browser.post(get_url(draft))
    policies.activate(policy=draft, user=lead)

    second = PolicyShadow.objects.latest("pk")
    assert (second.ended_at is not None, second.end_reason) == (True, "It was put into force.")


def test_third_shadow_and_a_shadow_of_the_policy_in_force_are_refused(
    draft: Policy, lead: User, client_of: ClientOf
) -> None:
    browser, active = client_of(lead), Policy.objects.active()
    drafts = [policies.create_version(based_on=draft, user=lead) for _ in range(3)]
    for one in drafts[:2]:
        browser.post(get_url(one))

    third = browser.post(get_url(drafts[2]), follow=True).content.decode()
    in_force = browser.post(get_url(active), follow=True).content.decode()
    twice = browser.post(get_url(drafts[0]), follow=True).content.decode()

    assert "2 shadows run already" in third
    assert "in force already" in in_force
    assert "as a shadow already" in twice
    assert PolicyShadow.objects.count() == 2


def test_a_killed_worker_loses_and_repeats_no_check(
    make_asset: MakeAsset, draft: Policy, lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadows.start(policy=draft, user=lead)
    store(make_asset)
    with monkeypatch.context() as patch:
        patch.setattr(shadows, "_judge", lambda outcomes: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            shadows.run_due(go_on=lambda: True)
    assert ShadowCheck.objects.count() == 1

    ShadowCheck.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    shadows.run_due(go_on=lambda: True)
    shadows.run_due(go_on=lambda: True)

    assert list(ShadowCount.objects.values_list("images", flat=True)) == [1]

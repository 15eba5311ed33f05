"""A lead lets a draft judge new images in shadow, and opens the images on which it differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

import moderation.tasks
from moderation.models import Policy, PolicyShadow, Review
from moderation.services import policies
from tests.browser.actions import PageOf
from tests.moderation.reclassification_helpers import (
    MakeAsset,
    Steered,
    get_review,
    store,
    use_steered,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _steered(settings: Any) -> Iterator[None]:
    use_steered(settings)
    yield
    Steered.results.clear()


def test_draft_judges_new_images_without_effect(
    page_of: PageOf, make_asset: MakeAsset, lead: User
) -> None:
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=lead, approves_imports=True
    )
    page = page_of(lead)
    page.goto(f"/policies/{draft.version}/")
    page.get_by_role("link", name="Shadow").press("Enter")
    page.get_by_role("button", name="Start the shadow").press("Enter")
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    expect(page.locator(".headline")).to_have_text("No image was settled yet since it began.")

    clean = store(make_asset)
    store(make_asset, 30)
    moderation.tasks.judge_as_shadow()

    page.reload()
    expect(page.locator(".headline")).to_contain_text("would settle 50.0 % of the images")
    assert set(Review.objects.values_list("status", flat=True)) == {Review.Status.PENDING}
    page.get_by_role("link", name="Image " + clean.short_id).press("Enter")
    expect(page).to_have_url(page.url.split("/reviews/")[0] + get_review(clean).get_absolute_url())

    page.goto(f"/policies/{draft.version}/")
    page.get_by_role("link", name="Shadow").press("Enter")
    page.get_by_role("button", name="End the shadow").press("Enter")
    expect(page.get_by_text("Ended", exact=True)).to_be_visible()
    assert PolicyShadow.objects.get().ended_at is not None

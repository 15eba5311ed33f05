"""Running classifiers again from the desk, by its key."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from moderation.models import Review
from tests.browser.actions import PageOf, begin, current, press

pytestmark = pytest.mark.django_db(transaction=True)


def test_key_y_opens_the_order_to_run_classifiers_again_on_this_image(
    page_of: PageOf, waiting: list[Review], senior: User
) -> None:
    page = page_of(senior)
    begin(page)
    asset = Review.objects.get(uuid=current(page)).asset

    press(page, "y")

    expect(page).to_have_url(
        re.compile(rf"/reclassifications/new/\?scope=images&asset={asset.uuid}$")
    )
    expect(page.get_by_role("heading", level=1)).to_be_visible()

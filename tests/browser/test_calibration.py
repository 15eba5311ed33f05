"""A calibration session by keyboard alone: judge image by image, finish, compare."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from moderation.models import CalibrationAnswer, CalibrationSession, Review
from moderation.services import calibrations
from tests.moderation.second_opinion_helpers import judge

pytestmark = [pytest.mark.django_db(transaction=True)]
PageOf = Callable[..., Page]


@pytest.fixture
def session(
    make_review: Callable[..., Review], other_moderator: User, moderator: User, senior: User
) -> CalibrationSession:
    reviews = [make_review() for _ in range(3)]
    for review in reviews:
        judge(review, other_moderator, "approve")
        review.refresh_from_db()
    return calibrations.start(
        user=senior, title="Stage props", people=[moderator, senior], reviews=reviews
    )


def press(page: Page, *keys: str, then: str) -> None:
    """Press keys, then wait for the image with this number."""
    for key in keys:
        page.keyboard.press(key)
    expect(page.locator(f"[data-calibration-image='{then}']")).to_be_visible()


def test_session_is_judged_by_keyboard_and_compared_after_finishing(
    page_of: PageOf, session: CalibrationSession, moderator: User
) -> None:
    page = page_of(moderator)
    page.goto(session.get_absolute_url())
    expect(page.get_by_role("heading", name="Image 1 of 3")).to_be_visible()
    expect(page.get_by_alt_text("Blurred image")).to_be_visible()
    page.keyboard.press("b")
    expect(page.locator(".calibration-image")).to_be_visible()

    press(page, "a", then="2")
    press(page, "r", "v", "1", then="3")
    press(page, "e", then="3")
    page.keyboard.press("f")

    expect(page.locator(".calibration-matrix tbody tr")).to_have_count(3)
    rows = CalibrationAnswer.objects.order_by("image__position")
    assert list(rows.values_list("verdict", flat=True)) == ["approve", "reject", "escalate"]
    assert [len(row.categories) for row in rows] == [0, 1, 0]

"""A senior marks a golden image; a moderator gets it unseen, and reads the answer afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from moderation.models import Decision, GoldenAnswer, GoldenImage
from tests.browser.actions import Make, PageOf, begin, current, eventually, press, sent
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _draw_after_every_decision(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GOLDEN_PERCENT = 100
    monkeypatch.setattr("moderation.services.claims.AUDIT_EVERY", 2**200)


def test_golden_image_is_marked_answered_unseen_and_explained(
    page_of: PageOf, make_review: Make, senior: User, moderator: User, other_moderator: User
) -> None:
    known = make_review()
    judge(known, other_moderator, "reject")
    marking = page_of(senior)
    marking.goto(known.get_absolute_url())
    marking.get_by_role("link", name="Make it a golden image").click()
    marking.get_by_label("Why this is the answer").fill("The knife is a stage prop.")
    marking.get_by_role("button", name="Make it golden").press("Enter")
    expect(marking.get_by_role("heading", name="Golden images")).to_be_visible()
    assert GoldenImage.objects.get().review == known
    waiting = [make_review() for _ in range(12)]
    recorded = Decision.objects.count()

    page = page_of(moderator)
    begin(page)
    # The deck holds some images already, so the golden one comes among the next ones.
    for _ in waiting:
        if current(page) == str(known.uuid):
            break
        before = current(page)
        press(page, "a")
        page.wait_for_function(
            "uuid => document.querySelector('#panel').dataset.review !== uuid", arg=before
        )
    assert current(page) == str(known.uuid)
    assert "golden" not in page.locator("#panel").inner_html()
    press(page, "a")
    sent(page)
    eventually(page, lambda: GoldenAnswer.objects.answered().exists())
    answer = GoldenAnswer.objects.get(golden_image__review=known)
    assert answer.verdict == "approve"
    assert not Decision.objects.filter(review=known, reviewer=moderator).exists()
    assert recorded < Decision.objects.count() <= recorded + len(waiting)

    # The answer is explained after ten minutes.
    GoldenAnswer.objects.update(answered_at=timezone.now() - timedelta(minutes=11))
    page.goto("/history/")
    page.get_by_role("link", name="golden images").click()
    row = page.get_by_role("row").filter(has_text="The knife is a stage prop.")
    expect(row.locator("[data-verdict=approve]")).to_have_text("Approved")
    expect(row.locator("[data-verdict=reject]")).to_have_text("Rejected")

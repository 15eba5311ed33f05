"""The auditor's walk: a dossier by keyboard, then a verification of the whole record."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from generation import jobs
from moderation.models import Review, Verdict, Verification
from moderation.services import decisions
from tests.browser.actions import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def test_auditor_reads_a_dossier_by_keyboard_and_verifies_the_record(
    page_of: Callable[..., Page],
    make_review: Callable[..., Review],
    moderator: User,
    auditor: User,
) -> None:
    review = make_review()
    decisions.claim(review=review, user=moderator)
    decisions.decide(review=review, user=moderator, verdict=Verdict.REJECT, categories=["gambling"])
    page = page_of(auditor)

    page.goto("/decisions/")
    page.get_by_role("link", name="Evidence on").press("Enter")
    expect(page.locator("h1")).to_contain_text(review.asset.short_id)
    page.get_by_role("link", name="open its review page").focus()
    page.keyboard.press("b")
    expect(page.locator(".image-cover[data-revealed] img.real")).to_have_count(1)

    page.get_by_role("link", name="Verify the whole record").press("Enter")
    page.get_by_role("button", name="Verify the whole record").press("Enter")
    expect(page.locator("#verifications[data-running]")).to_have_count(1)
    eventually(page, lambda: Verification.objects.exists())
    jobs.find("verify")()

    expect(page.locator("#verifications:not([data-running])")).to_contain_text("Unaltered")

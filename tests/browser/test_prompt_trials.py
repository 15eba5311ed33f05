"""A senior follows a risky word to its images, and tries a rule of it by keyboard."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

import moderation.tasks
from generation.models import Source
from moderation.models import PromptTrial, RiskStats
from moderation.services import risk_stats
from tests.browser.actions import Make, PageOf
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db(transaction=True)


def test_senior_follows_a_word_and_tries_a_rule_by_keyboard(
    page_of: PageOf, senior: User, moderator: User, make_review: Make, make_request: Make
) -> None:
    for number, verdict in enumerate(["reject", "reject", "approve"]):
        request = make_request(prompt="a red dagger", seed=number, cost=Decimal("0.5"))
        judge(make_review(source=Source.TXT2IMG, request=request, position=0), moderator, verdict)
    for key, decided, rejected in (("", 400, 40), ("dagger", 60, 40), ("boat", 200, 2)):
        RiskStats.objects.create(
            day=timezone.now().date(),
            kind="word" if key else "all",
            key=key,
            decided=decided,
            rejected=rejected,
        )
    risk_stats.compute_reports()
    page = page_of(senior)
    page.goto("/insights/")
    page.get_by_role("link", name="Risk", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Numbers of Prompt words").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr").first).to_contain_text("above")
    page.get_by_role("link", name="dagger", exact=True).click()
    expect(page.locator(".frame")).to_have_count(3)

    page.goto("/insights/prompts/")
    page.get_by_label("Block prompts with").focus()
    page.keyboard.type("dagger\nboat")
    page.get_by_role("button", name="Try it").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-trial=running]")).to_contain_text("1.5000 USD")

    moderation.tasks.try_prompt_rules()

    expect(page.locator("[data-trial=finished]")).to_have_count(1)  # the page asks by itself
    expect(page.locator("#prompt-trial .frame")).to_have_count(1)
    assert PromptTrial.objects.get().result["images"]["rejected"] == 2

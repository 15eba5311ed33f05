"""Walks with Tab, Enter and typed text alone: a second person's approval, and a legal hold."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Locator, Page, expect

from moderation.models import LegalHold, Policy, PolicyRule, Review
from moderation.services import policies, proposals

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PageOf = Callable[..., Page]
TABS_MAX = 150


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until the element has the focus, and see that the focus is visible."""
    expect(wanted).to_have_count(1)
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            outline = wanted.evaluate(
                "element => [getComputedStyle(element).outlineStyle,"
                " getComputedStyle(element).boxShadow]"
            )
            assert outline != ["none", "none"], "The focus cannot be seen."
            return
    raise AssertionError(f"Tab does not reach {wanted}.")


def test_second_person_finds_reads_and_approves_a_proposal_by_keyboard(
    page_of: PageOf, lead: User
) -> None:
    second = User.objects.create_user("second")
    second.groups.add(Group.objects.get(name="policy lead"))
    draft = policies.create_version(based_on=Policy.objects.active(), user=lead, name="Calmer")
    PolicyRule.objects.filter(policy=draft, category="violence").update(review_at=40)
    proposals.propose(policy=draft, author=lead, reason="Too many false alarms.")
    page = page_of(second)

    page.goto("/policies/")
    tab_to(page, page.get_by_role("region", name="Proposals").get_by_role("link", name="Calmer"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Too many false alarms.")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Approve, and put into force"))
    page.keyboard.press("Enter")

    expect(page.get_by_text("In force").first).to_be_visible()
    draft.refresh_from_db()
    assert draft.is_active


def test_lead_places_and_lifts_a_legal_hold_by_keyboard(
    page_of: PageOf, lead: User, make_review: Callable[..., Review]
) -> None:
    asset = make_review().asset
    page = page_of(lead)

    page.goto(f"/assets/{asset.uuid}/")
    tab_to(page, page.get_by_label("Reason for a legal hold"))
    page.keyboard.type("A court asks for it.")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A court asks for it.")).to_be_visible()

    page.goto("/holds/")
    tab_to(page, page.get_by_label(re.compile("Reason to lift the hold on")))
    page.keyboard.type("The case is closed.")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The case is closed.")).to_be_visible()

    hold = LegalHold.objects.get()
    assert (hold.lift.reason, hold.lift.lifted_by) == ("The case is closed.", lead)

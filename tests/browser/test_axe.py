"""Accessibility checks by axe-core on every page, dark and light, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page

import moderation.tasks
from generation.models import Asset, GenerationRequest, Source
from moderation.models import (
    Classification,
    Label,
    Policy,
    PolicyTrial,
    Preferences,
    Review,
    Verdict,
)
from moderation.services import decisions, policies, prompt_trials, trials
from tests.missing import skip_unless_required
from tests.moderation.page_helpers import store_classification_summary

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PageOf = Callable[..., Page]
Make = Callable[..., Any]
AXE = (
    Path(__file__).resolve().parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
)
RUN = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map((rule) =>
  `${rule.id}: ${rule.nodes.map((node) => node.target.join(" ") + " " + (node.any[0]?.message ?? "")).join(" | ")}`)"""
PLAIN = [
    "/",
    "/queues/",
    "/queues/waiting/",
    "/queues/escalated/?category=alcohol",
    "/queues/second-opinion/",
    "/search/",
    "/search/?q=harbour",
    "/search/?q=nothingofthekind",
    "/imports/",
    "/history/",
    "/preferences/",
    "/quality/",
    "/insights/",
    "/insights/quality/?span=24h",
    "/insights/services/",
    "/insights/classifiers/",
    "/insights/risk/",
    "/insights/risk/word/",
    "/insights/prompts/",
    "/reclassifications/",
    "/reclassifications/new/?scope=unseen",
    "/policies/",
    "/policies/1/",
    "/policies/1/proposal/",
    "/policies/1/history/",
    "/policies/2/",
    "/policies/2/proposal/",
    "/policies/1/trials/",
    "/policies/1/shadow/",
    "/new-findings/",
    "/decisions/",
    "/verifications/",
    "/traces/",
    "/requests/",
    "/requests/new/",
    "/password/",
    "/factors/",
    "/factors/app/",
    "/factors/passkeys/new/",
    "/factors/recovery-codes/new/",
    "/reauthenticate/",
    "/providers/",
    "/team/",
    "/heads/",
    "/team/roles/",
    "/team/golden/",
    "/team/calibrations/",
    "/team/calibrations/new/",
    "/history/golden/",
    "/team/keys/",
    "/keys/",
    "/team/invitations/",
    "/team/changes/",
    "/sessions/",
    "/deliveries/",
    "/operations/",
    "/storage/",
    "/retention/",
    "/retention/new/",
    "/retention/erasures/new/",
    "/holds/",
    "/holds/new/?q=harbour",
    "/developers/",
    "/api/docs",
    "/admin/",
    "/admin/generation/apikey/",
    "/admin/moderation/decision/?q=no-such-decision",
    "/no/such/page",
]


@pytest.fixture(scope="module")
def axe() -> str:
    if AXE.is_file():
        return AXE.read_text()
    skip_unless_required("axe-core is not installed in tests/clients", "REQUIRE_NODE")


@pytest.fixture
def furnished(
    make_review: Make,
    make_request: Make,
    make_asset: Callable[..., Asset],
    senior: User,
    moderator: User,
) -> Review:
    """Create every kind of row that a page can show, and a review that uses every panel part."""
    request: GenerationRequest = make_request(
        image_num=2, negative_prompt="fog", requested_by=moderator
    )
    request.transitions.create(old="queued", new="submitting", created_at=timezone.now())
    shown: Review = make_review(source=Source.TXT2IMG, request=request, position=0)
    make_review(source=Source.TXT2IMG, request=request, position=1)
    run = Classification.objects.create(
        asset=shown.asset,
        classifier="sandbox",
        version="1",
        status="done",
        score=60,
        covers={"explicit": "full"},
    )
    Label.objects.create(
        classification=run, category="violence.weapons", confidence=71, box=[0.1, 0.1, 0.4, 0.4]
    )
    store_classification_summary(shown)
    Review.objects.filter(pk=shown.pk).update(
        top_category="violence.weapons", top_category_l1="violence", top_confidence=71, risk=71
    )
    for verdict, words in (
        (Verdict.APPROVE, {}),
        (Verdict.REJECT, {"categories": ["gambling"], "note": "chips"}),
        (Verdict.ESCALATE, {"note": "unsure"}),
    ):
        review = make_review()
        decisions.claim(review=review, user=moderator)
        decisions.decide(review=review, user=moderator, verdict=verdict, **words)
    for _ in range(3):
        make_review()
    policies.create_version(based_on=Policy.objects.active(), user=senior)
    shown.refresh_from_db()
    return shown


def faults_of(page: Page, axe: str, place: str) -> list[str]:
    page.evaluate(axe)
    return [f"{place}: {fault}" for fault in page.evaluate(RUN)]


@pytest.mark.parametrize(
    ("theme", "size"),
    [("dark", (1440, 900)), ("light", (390, 844))],
    ids=["dark and wide", "light and narrow"],
)
def test_axe_finds_no_violation_on_any_page(
    theme: str,
    size: tuple[int, int],
    page_of: PageOf,
    admin: User,
    axe: str,
    furnished: Review,
    faults: list[str],
) -> None:
    Preferences.objects.create(user=admin, theme=theme)
    page = page_of(admin, viewport={"width": size[0], "height": size[1]})
    found: list[str] = []
    for place in [
        *PLAIN,
        f"/requests/{furnished.asset.request.uuid}/" if furnished.asset.request else "/",
        f"/assets/{furnished.asset.uuid}/",
    ]:
        page.goto(place)
        found += faults_of(page, axe, place)
    for place in [*list_trial_pages(admin), *list_prompt_trial_pages(admin)]:
        page.goto(place)
        found += faults_of(page, axe, place)
    found += _desk(page, axe, furnished)
    found += _sheet(page, axe)
    page.context.clear_cookies()
    page.goto("/login/")
    found += faults_of(page, axe, "/login/")
    faults[:] = [fault for fault in faults if "404" not in fault]
    assert not found, "\n".join(found)


def list_trial_pages(user: User) -> list[str]:
    """Try a stricter draft and return the pages of the trial."""
    first = Policy.objects.active()
    draft = policies.create_version(based_on=first, user=user, may_approve=False)
    trial = trials.start(candidate=draft, baseline=first, days=7, user=user)
    moderation.tasks.try_policies()
    cell = next(iter(trials.find_kept(PolicyTrial.objects.get(pk=trial.pk))))
    page = f"/policies/trials/{trial.uuid}/"
    return [page, f"{page}images/?cell={cell}"]


def list_prompt_trial_pages(user: User) -> list[str]:
    """Try a rule that blocks a request and return the pages of the trial."""
    prompt = GenerationRequest.objects.values_list("prompt", flat=True)[0]
    trial = prompt_trials.start(rule=prompt, allowed="a kite", days=7, user=user)
    moderation.tasks.try_prompt_rules()
    return [trial.get_absolute_url(), "/insights/prompts/"]


def _desk(page: Page, axe: str, review: Review) -> list[str]:
    page.goto(f"/reviews/{review.uuid}/?queue=waiting")
    found = faults_of(page, axe, "a review that nobody holds")
    page.get_by_role("button", name="Take it").click()
    page.locator("#claim").wait_for()
    found += faults_of(page, axe, "a review that is covered")
    page.get_by_role("link", name="Reveal").click()
    page.locator(".viewer .real").wait_for()
    page.locator("[data-boxes]").click()
    page.locator("#chooser > summary").click()
    found += faults_of(page, axe, "a review with boxes and categories")
    page.goto(f"/reviews/{Review.objects.filter(status='rejected').get().uuid}/")
    return found + faults_of(page, axe, "a decided review")


def _sheet(page: Page, axe: str) -> list[str]:
    page.goto("/queues/waiting/")
    page.get_by_role("button", name="Contact sheet").click()
    page.wait_for_url("**/sheet/**")
    found = faults_of(page, axe, "the contact sheet")
    page.keyboard.press("y")
    page.locator("#confirm").wait_for()
    return found + faults_of(page, axe, "the preview of a bulk action")

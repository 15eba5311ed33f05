"""A senior reads the plots of Insights by keyboard, and takes their figures as CSV."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from moderation.models import CountProgress, Measure, PeriodCount
from moderation.services.period_counts import floor_day
from tests.browser.actions import PageOf

pytestmark = pytest.mark.django_db(transaction=True)


def test_figures_are_drawn_tabled_and_downloaded(page_of: PageOf, senior: User) -> None:
    now = timezone.now()
    CountProgress.objects.all().delete()
    CountProgress.objects.bulk_create(
        CountProgress(stream=stream, began_at=now - timedelta(days=40), counted_until=now)
        for stream in CountProgress.Stream
    )
    yesterday = floor_day(timezone.now()) - timedelta(days=1)
    PeriodCount.objects.create(
        step=PeriodCount.Step.DAY,
        start=yesterday,
        measure=Measure.ARRIVALS,
        part="import",
        count=41,
    )

    page = page_of(senior)
    page.goto("/")
    page.get_by_role("link", name="Insights").first.press("Enter")
    page.get_by_role("navigation", name="Span").get_by_role("link", name="14 days").press("Enter")
    flow = page.locator("section.insight", has=page.locator("[data-chart=flow]"))
    expect(flow.locator("svg").first).to_be_visible()

    flow.locator("summary").press("Enter")
    row = flow.get_by_role("row").filter(has_text=f"{yesterday:%-d %b}")
    expect(row).to_contain_text("41")

    with page.expect_download() as download:
        flow.get_by_role("link", name="CSV").press("Enter")
    lines = Path(download.value.path()).read_text().splitlines()
    assert any("41" in line for line in lines)

    page.get_by_role("navigation", name="Insights").get_by_role("link", name="Risk").press("Enter")
    expect(page).to_have_url(re.compile("/insights/risk/"))

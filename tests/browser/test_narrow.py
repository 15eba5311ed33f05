"""Narrow windows: no page scrolls sideways at 320 and 390 pixels."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from moderation.models import Review
from tests.browser.actions import PageOf
from tests.browser.test_axe import PLAIN, furnished

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
# The page, and the first elements that reach beyond the window, outside of what scrolls by itself.
FIND_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1
      && !element.closest(".scroll, .visually-hidden, pre"))
    .slice(0, 4).map((element) => element.outerHTML.slice(0, 120))"""

__all__ = ["furnished"]


@pytest.mark.parametrize("width", [320, 390])
def test_no_page_scrolls_sideways(
    page_of: PageOf, admin: User, furnished: Review, faults: list[str], width: int
) -> None:
    page = page_of(admin, viewport={"width": width, "height": 800})
    found = {}
    for place in [*PLAIN, furnished.get_absolute_url()]:
        page.goto(place)
        if wide := page.evaluate(FIND_WIDE):
            found[place] = wide
    faults[:] = [fault for fault in faults if "404" not in fault]
    assert found == {}

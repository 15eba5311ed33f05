"""Views of an original that looks different from its rendition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from generation.models import Asset
from tests.generation.imaging.test_original import FILES

pytestmark = pytest.mark.django_db(transaction=True)
PageOf = Callable[..., Page]


@pytest.mark.parametrize("width", [390, 1440])
def test_views_appear_after_the_reveal_and_disappear_with_the_cover(
    page_of: PageOf, moderator: User, make_asset: Callable[..., Asset], width: int
) -> None:
    asset = make_asset(FILES["png-alpha"]())
    page = page_of(moderator, viewport={"width": width, "height": 900})
    page.goto(f"/reviews/{asset.review.uuid}/?reveal=0")
    views = page.get_by_role("list", name="The original differs by transparency")
    expect(views).to_have_count(0)

    page.get_by_role("link", name="Reveal").click()

    expect(views.get_by_role("listitem")).to_have_count(4)
    for name in ("On a checkerboard", "On white", "On black", "Without transparency"):
        link = views.get_by_role("link", name=name)
        link.scroll_into_view_if_needed()
        expect(link).to_be_visible()
        assert page.request.get(link.get_attribute("href") or "").ok
    loaded = "[...document.querySelectorAll('.views img')].every((one) => one.naturalWidth > 0)"
    page.wait_for_function(loaded)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.get_by_role("link", name="Blur").click()

    expect(views).to_be_hidden()

"""The admin site: model names, filter titles and the icon."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib import admin as site
from django.contrib.auth.models import User
from django.test import Client

ClientOf = Callable[[User], Client]


def test_admin_index_lists_models_by_correct_plurals(client_of: ClientOf, admin: User) -> None:
    text = unescape(client_of(admin).get("/admin/").content.decode())

    for model in site.site._registry:
        plural = str(model._meta.verbose_name_plural)
        assert not re.search(r"[^aeiou]ys$|sss$|[^s]ss$", plural), plural
    for name in ("Word stats", "Progress of word stats", "Daily stats", "Job slots"):
        assert f">{name}</a>" in text
    for section in ("Log-in attempts", "Worker queue"):
        assert section in text
    assert not re.search(r">\s*(axes|django q)\s*<", text, re.IGNORECASE)


def test_admin_filter_titles_do_not_repeat_by(client_of: ClientOf, admin: User) -> None:
    text = client_of(admin).get("/admin/moderation/decision/").content.decode()

    assert "By automatic decision" in text
    assert "By by" not in text


@pytest.mark.parametrize("address", ["/admin/", "/admin/login/"])
def test_admin_pages_link_an_icon_that_exists(
    client_of: ClientOf, admin: User, address: str
) -> None:
    client = client_of(admin) if address == "/admin/" else Client()
    text = client.get(address, follow=True).content.decode()

    icon = re.search(r'<link rel="icon"[^>]*href="([^"]+)"', text)
    assert icon is not None
    icon_response = client.get(icon.group(1))
    icon_response.close()
    assert icon_response.status_code == 200

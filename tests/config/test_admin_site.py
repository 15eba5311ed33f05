"""The admin site's own pages: names that read well, and the icon."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib import admin as site
from django.contrib.auth.models import User
from django.test import Client

ClientOf = Callable[[User], Client]


def test_names_on_the_index_are_plain_plurals(client_of: ClientOf, admin: User) -> None:
    text = unescape(client_of(admin).get("/admin/").content.decode())

    for model in site.site._registry:
        plural = str(model._meta.verbose_name_plural)
        assert not re.search(r"[^aeiou]ys$|sss$|[^s]ss$", plural), plural
    for name in ("Word stats", "Progress of word stats", "Daily stats", "Job slots"):
        assert f">{name}</a>" in text
    for section in ("Log-in attempts", "Worker queue"):
        assert section in text
    assert not re.search(r">\s*(axes|django q)\s*<", text, re.IGNORECASE)


def test_filters_read_as_sentences(client_of: ClientOf, admin: User) -> None:
    text = client_of(admin).get("/admin/moderation/decision/").content.decode()

    assert "By automatic decision" in text
    assert "By by" not in text


@pytest.mark.parametrize("address", ["/admin/", "/admin/login/"])
def test_every_page_names_the_icon(client_of: ClientOf, admin: User, address: str) -> None:
    client = client_of(admin) if address == "/admin/" else Client()
    text = client.get(address, follow=True).content.decode()

    icon = re.search(r'<link rel="icon"[^>]*href="([^"]+)"', text)
    assert icon is not None
    icon_response = client.get(icon.group(1))
    icon_response.close()
    assert icon_response.status_code == 200

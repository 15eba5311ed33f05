"""Navigation and theme: the same rules as the views, one setting for all pages."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from moderation.models import Preferences

pytestmark = pytest.mark.django_db
LINK = re.compile(r'<a href="([^"]+)"(?: aria-current="page")?><svg class="icon"')


@pytest.fixture
def artist() -> User:
    return User.objects.create_user("artist", password="correct horse 1")


def links_of(client: Client, user: User) -> list[str]:
    client.force_login(user)
    return LINK.findall(client.get("/preferences/").text)


@pytest.mark.parametrize("role", ["moderator", "senior", "lead", "auditor", "admin", "artist"])
def test_every_page_of_the_navigation_opens_for_the_person_who_sees_it(
    request: pytest.FixtureRequest, client: Client, role: str
) -> None:
    found = links_of(client, request.getfixturevalue(role))

    assert {"/", "/requests/", "/developers/", "/preferences/"} <= set(found)
    assert {url: client.get(url).status_code for url in found} == dict.fromkeys(found, 200)


@pytest.mark.parametrize("role", ["operator", "integrator", "auditor", "artist"])
def test_people_without_a_queue_have_no_link_to_queues(
    request: pytest.FixtureRequest, client: Client, role: str
) -> None:
    found = links_of(client, request.getfixturevalue(role))

    assert "/queues/" not in found
    assert found.count("/developers/") == 1
    assert ("/deliveries/" in found) == (role == "operator")
    assert {url: client.get(url).status_code for url in found} == dict.fromkeys(found, 200)


def test_person_without_a_role_sees_no_page_of_moderators(client: Client, artist: User) -> None:
    found = set(links_of(client, artist))

    assert not found & {"/search/", "/decisions/", "/providers/", "/quality/", "/admin/"}


def test_current_page_is_marked_on_the_pages_that_belong_to_it(
    client: Client, moderator: User
) -> None:
    client.force_login(moderator)

    page = client.get("/queues/waiting/").text

    assert page.count('<a href="/queues/" aria-current="page">') == 2
    assert '<a href="/" aria-current="page">' not in page


def test_theme_follows_the_system_until_a_person_chooses_one(client: Client, admin: User) -> None:
    assert 'data-theme="auto"' in client.get("/login/").text
    client.force_login(admin)
    assert 'data-theme="auto"' in client.get("/").text
    assert '<body class="theme-auto' in client.get("/admin/").text

    client.post("/preferences/", {"theme": "light", "next": "/admin/"})

    assert Preferences.objects.get(user=admin).theme == "light"
    assert 'data-theme="light"' in client.get("/").text
    for address in ("/admin/", "/admin/moderation/policy/"):
        page = client.get(address).text
        assert 'class="theme-light' in page
        assert "dark_mode.css" not in page
        assert "favicon.svg" in page

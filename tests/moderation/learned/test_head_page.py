"""The page of learned heads: promotion and retirement outside the admin site."""

from __future__ import annotations

from django.contrib.auth.models import User

from moderation.models import HeadChange
from tests.moderation.learned.house import ClientOf, make_head


def test_lead_promotes_and_retires_a_head(client_of: ClientOf, lead: User) -> None:
    head, browser = make_head(), client_of(lead)
    assert browser.post(f"/heads/{head.pk}/status/", {"step": "promote"}).status_code == 303
    head.refresh_from_db()
    assert head.status == "advisory"
    browser.post(f"/heads/{head.pk}/status/", {"step": "retire"})
    head.refresh_from_db()
    assert head.status == "retired"
    assert HeadChange.objects.filter(head=head, author=lead).count() == 2


def test_head_that_fails_its_gate_stays_and_the_page_says_why(
    client_of: ClientOf, lead: User
) -> None:
    head = make_head(failures=[{"condition": "log-loss", "reason": "It is no better."}])
    browser = client_of(lead)
    browser.post(f"/heads/{head.pk}/status/", {"step": "promote"})
    head.refresh_from_db()
    assert head.status == "shadow"
    page = browser.get("/heads/").content.decode()
    assert "It is no better." in page
    assert 'value="promote"' not in page

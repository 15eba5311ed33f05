"""Reversal of batches of decisions."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from moderation.models import Decision, Review, Verdict
from moderation.models.reviews import UNDO_WINDOW
from moderation.services import decisions
from tests.moderation.contact_sheet_helpers import decide, fetch_sheet, read_field_values
from tests.moderation.page_helpers import HTMX, ClientOf, MakeReview
from tests.moderation.test_batches import ADDRESS, is_record_consistent, statuses


def get_batch_id(review: Review) -> Any:
    return Decision.objects.filter(review=review).latest("sequence").batch


@pytest.mark.parametrize("htmx", [False, True])
def test_batch_is_reversed_as_a_whole(
    browser: Client, three: list[Review], moderator: User, htmx: bool
) -> None:
    decide(browser, three, "reject", categories=["gambling"])
    batch = get_batch_id(three[0])

    response = browser.post(
        f"/batches/{batch}/reversal/",
        {"queue": "waiting", "sight": "size=s"},
        headers=HTMX if htmx else {},
    )

    assert statuses(three) == ["pending"] * 3
    assert Review.objects.held_by(moderator).count() == 3
    reversals = Decision.objects.filter(verdict=Verdict.REVERSE)
    assert reversals.count() == 3
    assert len({reversal.batch for reversal in reversals} - {batch}) == 1
    where = response["HX-Replace-Url" if htmx else "Location"]
    assert where == f"{ADDRESS}?size=s&batch={reversals[0].batch}"
    text = fetch_sheet(browser, where)
    assert len(read_field_values(text, "tile")) == 3
    assert "They are open again, and you hold them." in text
    assert "Undo all" not in text
    assert is_record_consistent()


def test_batch_reversal_leaves_out_images_decided_again(
    browser: Client, three: list[Review], senior: User
) -> None:
    decide(browser, three)
    batch = get_batch_id(three[0])
    first = Decision.objects.get(review=three[0])
    decisions.reverse(decision=first, user=senior, note="wrong one")
    decisions.decide(review=three[0], user=senior, verdict=Verdict.REJECT, categories=["gambling"])

    page = browser.get(f"/batches/{batch}/").content.decode()
    response = browser.post(f"/batches/{batch}/reversal/")

    assert "Undo 2" in page
    assert "of 3; the others have been reversed or decided again." in page
    assert response["Location"] == f"/batches/{batch}/"
    assert statuses(three) == ["rejected", "pending", "pending"]
    text = browser.get(response["Location"]).content.decode()
    assert "Reversed: 2 decisions." in text
    assert (
        f"1 left out. {three[0].asset.short_id}: This decision has been reversed already." in text
    )
    assert is_record_consistent()


def test_batch_reversal_leaves_out_decisions_with_a_later_decision(
    browser: Client, three: list[Review], senior: User
) -> None:
    """A senior has decided after the escalation, so it is no longer the last decision."""
    decide(browser, three[:2], "escalate", note="A toy?")
    batch = get_batch_id(three[0])
    decisions.claim(review=three[0], user=senior)
    decisions.decide(review=three[0], user=senior, verdict=Verdict.APPROVE)

    page = browser.get(f"/batches/{batch}/").content.decode()
    browser.post(f"/batches/{batch}/reversal/")

    assert "Decided again" in page
    assert statuses(three[:2]) == ["approved", "pending"]
    assert (
        "is no longer the last decision on its image"
        in browser.get(f"/batches/{batch}/").content.decode()
    )


def test_after_undo_window_only_a_senior_reverses_batch_with_reason(
    browser: Client,
    three: list[Review],
    client_of: ClientOf,
    other_moderator: User,
    senior: User,
    monkeypatch: Any,
) -> None:
    decide(browser, three)
    address = f"/batches/{get_batch_id(three[0])}/"
    assert "Undo all 3" in browser.get(address).content.decode()
    monkeypatch.setattr("moderation.models.decisions.UNDO_WINDOW", -UNDO_WINDOW)

    late = browser.post(f"{address}reversal/")
    strange = client_of(other_moderator).post(f"{address}reversal/")
    silent = client_of(senior).post(f"{address}reversal/")
    assert statuses(three) == ["approved"] * 3
    said = client_of(senior).post(f"{address}reversal/", {"note": "the wrong sheet"})

    assert (late.status_code, strange.status_code, silent.status_code) == (403, 403, 422)
    assert "The undo window is over." in late.content.decode()
    assert "only be reversed by a senior" in strange.content.decode()
    assert "Give a reason for reversing" in silent.content.decode()
    assert "You cannot reverse this batch." in browser.get(address).content.decode()
    assert said.status_code == 303
    assert statuses(three) == ["pending"] * 3
    again = client_of(senior).post(f"{address}reversal/", {"note": "again"})
    assert again.status_code == 403
    assert "have been reversed already" in again.content.decode()
    assert Decision.objects.count() == 6


def test_batch_reversal_on_sheet_after_undo_window_returns_403(
    browser: Client, three: list[Review], monkeypatch: Any
) -> None:
    decide(browser, three[:1])
    monkeypatch.setattr("moderation.models.decisions.UNDO_WINDOW", -UNDO_WINDOW)

    response = browser.post(
        f"/batches/{get_batch_id(three[0])}/reversal/", {"queue": "waiting"}, headers=HTMX
    )

    assert response.status_code == 403
    assert "The undo window is over." in response.content.decode()
    assert len(read_field_values(response.content.decode(), "tile")) == 2


def test_batch_page_needs_view_permission(
    client: Client,
    browser: Client,
    three: list[Review],
    client_of: ClientOf,
    auditor: User,
    db: None,
) -> None:
    decide(browser, three)
    address = f"/batches/{get_batch_id(three[0])}/"
    nobody = client_of(User.objects.create_user("nobody", password="x"))

    assert client.get(address).status_code == 302
    assert nobody.get(address).status_code == 403
    assert nobody.post(f"{address}reversal/").status_code == 403
    page = client_of(auditor).get(address)
    assert page.status_code == 200
    assert "/reversal/" not in page.content.decode()
    assert client_of(auditor).post(f"{address}reversal/").status_code == 403
    assert browser.get(f"/batches/{uuid4()}/").status_code == 404
    assert browser.post(f"/batches/{uuid4()}/reversal/").status_code == 404
    assert browser.get(f"{address}reversal/").status_code == 405
    assert statuses(three) == ["approved"] * 3


def test_record_links_to_batch_page_without_thumbnails(
    browser: Client,
    three: list[Review],
    make_review: MakeReview,
    moderator: User,
    django_assert_max_num_queries: Any,
) -> None:
    decide(browser, three)
    batch = get_batch_id(three[0])

    text = browser.get("/decisions/").content.decode()
    with django_assert_max_num_queries(9):
        page = browser.get(f"/batches/{batch}/").content.decode()

    assert text.count(f'href="/batches/{batch}/"') == 3
    assert all(one.asset.short_id in page for one in three)
    assert not any(f'src="{one.asset.thumbnail_url}"' in page for one in three)


def test_batch_superseded_in_full_returns_409_and_reverses_nothing(
    client_of: ClientOf, browser: Client, three: list[Review], senior: User
) -> None:
    decide(browser, three[:1], "escalate", note="unsure")
    batch = get_batch_id(three[0])
    decisions.claim(review=three[0], user=senior)
    decisions.decide(review=three[0], user=senior, verdict=Verdict.APPROVE)

    response = client_of(senior).post(f"/batches/{batch}/reversal/", {"note": "too late"})

    assert response.status_code == 409
    assert "Nothing was reversed. 1 left out." in response.content.decode()
    assert Decision.objects.count() == 2


def test_reversal_with_a_note_that_is_too_long_returns_422(
    client_of: ClientOf, browser: Client, three: list[Review], senior: User
) -> None:
    decide(browser, three[:1])
    decision = Decision.objects.get(review=three[0])

    for url in (f"/decisions/{decision.uuid}/reversal/", f"/batches/{decision.batch}/reversal/"):
        response = client_of(senior).post(url, {"note": "x" * 5000})

        assert response.status_code == 422
        assert "A note has at most" in response.content.decode()
    assert Decision.objects.count() == 1

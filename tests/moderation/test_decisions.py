"""Decisions, skips, undo and reversals over HTTP, with htmx and without."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from moderation.models import Decision, Review, Verdict
from moderation.models.reviews import UNDO_WINDOW
from moderation.services import decisions
from moderation.views.skips import SKIPS_KEPT
from tests.moderation.page_helpers import (
    HTMX,
    ClientOf,
    MakeReview,
    decide,
    get_review_url,
    make_claimed_review,
    start_queue,
)

# --- Decisions ---


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("verdict", "status", "data"),
    [
        ("approve", "approved", {}),
        ("reject", "rejected", {"categories": ["violence.weapons", "gambling"]}),
        ("escalate", "escalated", {"note": "A toy?"}),
    ],
)
def test_decision_is_recorded_and_next_image_is_claimed(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    verdict: str,
    status: str,
    data: dict[str, Any],
    htmx: bool,
) -> None:
    review, following = make_claimed_review(make_review, moderator), make_review()

    response = decide(
        client_of(moderator), review, verdict, htmx=htmx, queue="waiting", seconds="4.25", **data
    )

    review.refresh_from_db()
    following.refresh_from_db()
    decision = Decision.objects.get()
    assert review.status == status
    assert following.is_held_by(moderator)
    assert decision.verdict == verdict
    assert decision.note == data.get("note", "")
    assert decision.categories == sorted(data.get("categories", []))
    assert str(decision.seconds) == "4.2"
    if htmx:
        assert response.status_code == 200
        assert response["HX-Push-Url"] == get_review_url(following, "waiting")
        assert str(following.uuid) in response.content.decode()
        assert (
            f"{decision.past_tense.capitalize()} image {review.asset.short_id}"
            in response.content.decode()
        )
    else:
        assert response.status_code == 303
        assert response["Location"] == get_review_url(following, "waiting")


@pytest.mark.parametrize("htmx", [False, True])
def test_after_last_image_queue_page_says_nothing_is_waiting(
    client_of: ClientOf, make_review: MakeReview, moderator: User, htmx: bool
) -> None:
    review, client = make_claimed_review(make_review, moderator), client_of(moderator)

    response = decide(client, review, "approve", htmx=htmx, queue="waiting")

    assert response["HX-Redirect" if htmx else "Location"] == "/queues/waiting/"
    text = client.get("/queues/waiting/").content.decode()
    assert "Nothing is waiting" in text
    assert 'hx-trigger="every 20s"' in text
    assert f"Approved image {review.asset.short_id}" in text


def test_decision_without_queue_redirects_to_same_image(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_claimed_review(make_review, moderator)

    assert decide(client_of(moderator), review, "approve")["Location"] == get_review_url(review)


@pytest.mark.parametrize("htmx", [False, True])
def test_rejection_without_category_returns_422_and_keeps_note(
    client_of: ClientOf, make_review: MakeReview, moderator: User, htmx: bool
) -> None:
    review = make_claimed_review(make_review, moderator)

    response = decide(client_of(moderator), review, "reject", htmx=htmx, note="Look at the hand")

    text = response.content.decode()
    assert response.status_code == 422
    assert "needs at least one category" in text
    assert "Look at the hand" in text
    assert '<details class="chooser" id="chooser" open>' in text
    assert Decision.objects.count() == 0


@pytest.mark.parametrize(
    "data",
    [
        {"verdict": "reopen"},
        {"verdict": ""},
        {"verdict": "reject", "categories": ["cats"]},
        {"verdict": "approve", "note": "x" * 2001},
        {"verdict": "approve", "decision": "mine"},
    ],
)
def test_invalid_decision_returns_422_with_message(
    client_of: ClientOf, make_review: MakeReview, moderator: User, data: dict[str, Any]
) -> None:
    review = make_claimed_review(make_review, moderator)

    response = client_of(moderator).post(
        reverse("moderation:decision-create", args=[review.uuid]), data
    )

    assert response.status_code == 422
    assert b'role="alert"' in response.content
    assert Decision.objects.count() == 0


@pytest.mark.parametrize("seconds", ["", "NaN", "-1", "many", "1e99", "Infinity"])
def test_invalid_seconds_are_stored_as_null(
    client_of: ClientOf, make_review: MakeReview, moderator: User, seconds: str
) -> None:
    decide(
        client_of(moderator),
        make_claimed_review(make_review, moderator),
        "approve",
        seconds=seconds,
    )

    assert Decision.objects.get().seconds is None


@pytest.mark.parametrize("htmx", [False, True])
def test_late_decision_returns_409_with_first_decision(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User, htmx: bool
) -> None:
    review = make_claimed_review(make_review, other_moderator)
    decide(client_of(other_moderator), review, "reject", categories=["violence.weapons"])

    response = decide(client_of(moderator), review, "approve", htmx=htmx, queue="waiting")

    text = response.content.decode()
    assert response.status_code == 409
    assert "Already rejected (Weapons) by other at" in text
    assert reverse("moderation:claim-next", args=["waiting"]) in text
    assert Decision.objects.count() == 1


def test_decision_without_claim_returns_409_and_keeps_form_values(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_claimed_review(make_review, moderator), client_of(moderator)
    review.release(moderator)
    given = {"categories": ["violence.weapons"], "note": "Blade"}

    lapsed = decide(client, review, "reject", htmx=True, **given)
    again = client.post(reverse("moderation:review-claim", args=[review.uuid]), given, headers=HTMX)

    assert lapsed.status_code == 409
    assert "has expired" in lapsed.content.decode()
    assert 'value="violence.weapons"' in lapsed.content.decode()
    assert "Blade" in again.content.decode()
    assert (
        'value="violence.weapons" data-hotkey="2" data-label="Weapons" checked'
        in again.content.decode()
    )


def test_moderator_deciding_escalated_image_gets_403(
    client_of: ClientOf, make_review: MakeReview, moderator: User, senior: User
) -> None:
    review = make_claimed_review(make_review, moderator)
    client = client_of(moderator)
    decide(client, review, "escalate", note="A toy?")

    assert decide(client, review, "approve", htmx=True).status_code == 403
    assert client.get("/queues/escalated/").status_code == 404
    senior_client = client_of(senior)
    assert start_queue(senior_client, "escalated")["Location"] == get_review_url(
        review, "escalated"
    )
    assert (
        "<bdi>moderator</bdi>: <bdi>A toy?</bdi>"
        in senior_client.get(get_review_url(review)).content.decode()
    )
    assert decide(senior_client, review, "approve").status_code == 303


# --- Skip, undo, reverse ---


@pytest.mark.parametrize("htmx", [False, True])
def test_skipped_image_returns_only_on_request(
    client_of: ClientOf, make_review: MakeReview, moderator: User, htmx: bool
) -> None:
    first, second = make_claimed_review(make_review, moderator), make_review()
    client, headers = client_of(moderator), HTMX if htmx else {}

    for review in (first, second):
        response = client.post(
            reverse("moderation:review-skip", args=[review.uuid]),
            {"queue": "waiting"},
            headers=headers,
        )

    assert response["HX-Redirect" if htmx else "Location"] == "/queues/waiting/"
    assert "Show them again" in client.get("/queues/waiting/").content.decode()
    assert start_queue(client)["Location"] == "/queues/waiting/"
    assert start_queue(client, data={"again": "1"})["Location"] == get_review_url(first, "waiting")
    assert Decision.objects.count() == 0


def test_stored_skips_are_limited(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)
    session = client.session
    session["skips"] = {"waiting": list(range(10_000, 10_000 + SKIPS_KEPT))}
    session.save()
    review = make_review()

    client.post(reverse("moderation:review-skip", args=[review.uuid]), {"queue": "waiting"})

    assert client.session["skips"]["waiting"] == [*range(10_001, 10_000 + SKIPS_KEPT), review.pk]


def test_skipped_image_is_available_to_others(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    review = make_claimed_review(make_review, moderator)

    client_of(moderator).post(
        reverse("moderation:review-skip", args=[review.uuid]), {"queue": "waiting"}
    )

    assert start_queue(client_of(other_moderator))["Location"] == get_review_url(review, "waiting")


@pytest.mark.parametrize("htmx", [False, True])
def test_undo_reverses_decision_and_shows_image(
    client_of: ClientOf, make_review: MakeReview, moderator: User, htmx: bool
) -> None:
    review, client = make_claimed_review(make_review, moderator), client_of(moderator)
    decide(client, review, "approve")

    response = client.post(
        reverse("moderation:undo"), {"queue": "waiting"}, headers=HTMX if htmx else {}
    )

    review.refresh_from_db()
    assert review.status == Review.Status.PENDING
    assert review.is_held_by(moderator)
    assert response["HX-Push-Url" if htmx else "Location"] == get_review_url(review, "waiting")
    assert [d.verdict for d in Decision.objects.order_by("sequence")] == ["approve", "reopen"]


def test_undo_without_decision_returns_409_with_htmx(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_review(), client_of(moderator)

    stays = client.post(reverse("moderation:undo"), {"review": str(review.uuid)}, headers=HTMX)
    leaves = client.post(reverse("moderation:undo"))

    assert stays.status_code == 409
    assert b"You have nothing left to undo" in stays.content
    assert leaves["Location"] == reverse("home")


def test_after_undo_window_senior_reverses_with_reason(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    senior: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    review = make_claimed_review(make_review, moderator)
    decide(client_of(moderator), review, "approve")
    address = reverse("moderation:decision-reverse", args=[Decision.objects.get().uuid])
    monkeypatch.setattr("moderation.models.decisions.UNDO_WINDOW", -UNDO_WINDOW)

    assert client_of(moderator).post(address).status_code == 403
    assert client_of(senior).post(address).status_code == 422
    reason = {"note": "the flag is historical"}
    assert client_of(senior).post(address, reason)["Location"] == get_review_url(review)
    assert client_of(senior).post(address, reason).status_code == 403
    assert Decision.objects.count() == 2


def test_deck_reuses_csrf_token_of_page_and_sets_no_cookie(
    make_review: MakeReview, moderator: User
) -> None:
    """The token of the page stays valid, so no response needs a new one."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(moderator)
    make_review()
    token = re.findall(
        r'name="csrfmiddlewaretoken" value="([^"]+)"',
        client.get("/queues/waiting/").content.decode(),
    )[0]

    answer = client.post("/queues/waiting/deck/", {"deck": "1"}, headers={"X-CSRFToken": token})
    assert f'name="csrfmiddlewaretoken" value="{token}"' in answer.content.decode()
    assert "csrftoken" not in answer.cookies

    # Django checks the token of the form first, so the header is not validated.
    both = client.post(
        "/queues/waiting/deck/",
        {"csrfmiddlewaretoken": token, "deck": "1"},
        headers={"X-CSRFToken": "x"},
    )
    assert 'value="x"' not in both.content.decode()
    assert (
        client.post(
            "/queues/waiting/deck/", {"deck": "1"}, headers={"X-CSRFToken": "x"}
        ).status_code
        == 403
    )


def test_deck_includes_claims_of_another_window_if_queue_is_too_short(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    here, elsewhere = (
        make_claimed_review(make_review, moderator),
        make_claimed_review(make_review, moderator),
    )
    make_claimed_review(make_review, other_moderator)
    free = make_review()
    client = client_of(moderator)

    def fetch_deck(want: int, **given: Any) -> list[str]:
        answer = client.post(
            "/queues/waiting/deck/", {"deck": "1", "want": want, "have": str(here.uuid), **given}
        )
        return re.findall(r'data-panel data-review="([^"]+)"', answer.content.decode())

    assert fetch_deck(1, held="1") == [str(free.uuid)]
    assert fetch_deck(5) == []
    assert fetch_deck(5, held="1", have=[str(here.uuid), str(free.uuid)]) == [str(elsewhere.uuid)]
    Review.objects.filter(pk=elsewhere.pk).update(
        claimed_until=timezone.now() + timedelta(seconds=5)
    )
    fetch_deck(5, held="1")
    elsewhere.refresh_from_db()
    assert elsewhere.claimed_until > timezone.now() + timedelta(minutes=4)
    client.post(f"/reviews/{elsewhere.uuid}/skip/", {"queue": "waiting", "deck": "1", "want": "0"})
    assert str(elsewhere.uuid) not in fetch_deck(5, held="1")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's plans")
def test_decision_finds_review_by_claims_index(make_review: MakeReview, moderator: User) -> None:
    """The unique index on the UUID grows with all reviews, the index on claims does not."""
    review = make_claimed_review(make_review, moderator)

    with CaptureQueriesContext(connection) as queries:
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)

    (read,) = [query["sql"] for query in queries if "has_listener" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {read}")
        assert "USING INDEX review_claims (claimed_by_id=?)" in " ".join(
            row[-1] for row in cursor.fetchall()
        )

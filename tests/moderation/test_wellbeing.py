"""Wellbeing: preferences, avoided categories, exposure and breaks."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from moderation import taxonomy
from moderation.models import Exposure, Preferences, Review
from moderation.models.exposure import find_current_step
from tests.moderation.page_helpers import (
    HTMX,
    ClientOf,
    MakeReview,
    decide,
    get_review_url,
    make_claimed_review,
    start_queue,
)

PREFERENCES, AVOIDED = "/preferences/", "/preferences/avoided/"


def add_exposure(user: User, images: int, *, severe: int = 0, hours_ago: int = 0) -> None:
    Exposure.objects.create(
        user=user,
        started_at=find_current_step() - timedelta(hours=hours_ago),
        images=images,
        severe=severe,
    )


# --- Preferences ---
def test_preferences_page_shows_all_options_and_current_values(
    client_of: ClientOf, moderator: User
) -> None:
    Preferences.objects.create(
        user=moderator, theme="light", covers={"alcohol": "grey"}, cover_again=5, break_after=50
    )

    text = client_of(moderator).get(PREFERENCES).content.decode()

    for name, value in (
        ("theme", "light"),
        ("surround", "dark"),
        ("hotkeys", "on"),
        ("blur", "on"),
        ("small_first", "off"),
        ("cover_again", "5"),
        ("break_after", "50"),
        ("cover-alcohol", "grey"),
        ("cover-violence", "usual"),
    ):
        assert f'name="{name}" value="{value}" checked' in text, name
    assert text.count('name="cover-') == 4 * len(taxonomy.L1)
    assert "It is not known to make difficult images less harmful" in text
    assert "until midnight UTC" in text


def test_preferences_are_stored_and_used(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)
    sent = {
        "theme": "auto",
        "surround": "mid",
        "hotkeys": "off",
        "blur": "off",
        "small_first": "on",
        "cover_again": "10",
        "break_after": "400",
        "cover-explicit": "blur",
        "cover-violence": "grey",
        "cover-alcohol": "none",
    }

    response = client.post(PREFERENCES, sent)

    stored = Preferences.objects.get(user=moderator)
    assert response["Location"] == PREFERENCES
    assert "Saved." in client.get(PREFERENCES).content.decode()
    assert (stored.theme, stored.surround, stored.hotkeys, stored.blur) == (
        "auto",
        "mid",
        False,
        False,
    )
    assert (stored.small_first, stored.cover_again, stored.break_after) == (True, 10, 400)
    assert stored.covers == {"explicit": "blur", "violence": "grey", "alcohol": "none"}
    assert [stored.cover_for(l1) for l1 in ("explicit", "violence", "gambling", "")] == [
        "blur",
        "grey",
        "none",
        "none",
    ]
    client.post(PREFERENCES, {"cover-violence": "usual"})
    assert Preferences.objects.get(user=moderator).covers == {"explicit": "blur", "alcohol": "none"}


def test_cover_preference_changes_the_review_page(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_claimed_review(make_review, moderator), client_of(moderator)
    Review.objects.filter(pk=review.pk).update(
        top_category="violence.weapons", top_category_l1="violence"
    )
    assert review.asset.file_url not in client.get(get_review_url(review)).content.decode()

    client.post(PREFERENCES, {"cover-violence": "grey"})

    text = client.get(get_review_url(review)).content.decode()
    assert review.asset.file_url in text
    assert "data-grey" in text


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"theme": "pink"}, "Theme: choose one of “Dark”, “Light” and “As the system”."),
        (
            {"cover_again": "4"},
            "Covered again after: choose one of “Never”, “3 s”, “5 s” and “10 s”.",
        ),
        ({"break_after": ""}, "Suggest a break after: choose one of"),
        (
            {"cover-alcohol": "black"},
            "Alcohol: choose one of “As above”, “Blurred”, “Grey” and “As it is”.",
        ),
        ({"blur": "perhaps"}, "Blurred until revealed: choose one of “On” and “Off”."),
    ],
)
def test_invalid_preference_returns_422_and_stores_nothing(
    client_of: ClientOf, moderator: User, sent: dict[str, str], sentence: str
) -> None:
    response = client_of(moderator).post(PREFERENCES, {"surround": "mid", **sent})

    text = response.content.decode()
    assert response.status_code == 422
    assert sentence in text
    assert 'role="alert"' in text
    # The form keeps the other submitted values.
    assert 'name="surround" value="mid" checked' in text
    assert not Preferences.objects.exists()


def test_partial_preferences_keep_the_other_values(client_of: ClientOf, moderator: User) -> None:
    client = client_of(moderator)
    client.post(PREFERENCES, {"cover-alcohol": "grey", "break_after": "50"})

    quiet = client.post(PREFERENCES, {"surround": "light", "next": "/"}, headers=HTMX)
    plain = client.post(PREFERENCES, {"blur": "off", "next": "/queues/"})

    stored = Preferences.objects.get(user=moderator)
    assert (quiet.status_code, plain["Location"]) == (204, "/queues/")
    assert (stored.surround, stored.blur, stored.break_after, stored.covers) == (
        "light",
        False,
        50,
        {"alcohol": "grey"},
    )


def test_wellbeing_pages_redirect_to_login(db: None, client: Client) -> None:
    assert client.get(PREFERENCES)["Location"] == f"/login/?next={PREFERENCES}"
    for address in (AVOIDED, "/exposure/later/", "/break/"):
        assert client.post(address, {"category": "alcohol"})["Location"].startswith("/login/")
    for address in ("/exposure/", "/history/", "/quality/", "/break/"):
        assert client.get(address)["Location"].startswith("/login/")


# --- Avoided categories ---
@pytest.fixture
def two_reviews(make_review: MakeReview) -> list[Review]:
    """Create a review with alcohol, which comes first, and one with gambling."""
    found = [make_review(), make_review()]
    for review, l1, risk in zip(found, ("alcohol", "gambling"), (90, 10), strict=True):
        Review.objects.filter(pk=review.pk).update(top_category=l1, top_category_l1=l1, risk=risk)
    return found


@pytest.mark.parametrize("htmx", [False, True])
def test_avoiding_a_category_releases_image_and_claims_another(
    client_of: ClientOf,
    two_reviews: list[Review],
    moderator: User,
    other_moderator: User,
    htmx: bool,
) -> None:
    client = client_of(moderator)
    assert start_queue(client)["Location"] == get_review_url(two_reviews[0], "waiting")

    response = client.post(
        AVOIDED,
        {"category": "alcohol", "queue": "waiting", "review": two_reviews[0].uuid},
        headers=HTMX if htmx else {},
    )

    two_reviews[0].refresh_from_db()
    assert response["HX-Push-Url" if htmx else "Location"] == get_review_url(
        two_reviews[1], "waiting"
    )
    assert two_reviews[0].claimed_by is None
    assert Exposure.objects.get(user=moderator).images == 1
    assert Preferences.for_user(User.objects.get(pk=moderator.pk)).avoided_today() == ["alcohol"]
    # The image is available to others, but not to this person, even after a new start.
    assert start_queue(client_of(other_moderator))["Location"] == get_review_url(
        two_reviews[0], "waiting"
    )
    two_reviews[0].release(other_moderator)
    assert start_queue(client)["Location"] == get_review_url(two_reviews[1], "waiting")


def test_avoiding_a_category_releases_it_from_the_deck(
    client_of: ClientOf, two_reviews: list[Review], moderator: User
) -> None:
    client = client_of(moderator)
    client.post("/queues/waiting/deck/", {"deck": "1", "want": "2"})
    assert Review.objects.held_by(moderator).count() == 2

    answer = client.post(
        AVOIDED, {"category": "alcohol", "queue": "waiting", "deck": "1", "want": "2"}
    )

    assert list(Review.objects.held_by(moderator)) == [two_reviews[1]]
    assert answer.status_code == 200
    assert not Exposure.objects.exists()


def test_avoided_category_ends_at_midnight_utc_or_on_request(
    client_of: ClientOf, two_reviews: list[Review], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(moderator)
    client.post(AVOIDED, {"category": "alcohol"})
    assert (
        "Alcohol is not offered to you until midnight UTC"
        in client.get(PREFERENCES).content.decode()
    )
    assert 'value="off" aria-pressed="true">Alcohol' in client.get(PREFERENCES).content.decode()

    midnight = (timezone.now() + timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: midnight - timedelta(seconds=1))
        assert Preferences.for_user(User.objects.get(pk=moderator.pk)).avoided_today() == [
            "alcohol"
        ]
        clock.setattr(timezone, "now", lambda: midnight)
        assert Preferences.for_user(User.objects.get(pk=moderator.pk)).avoided_today() == []
    client.post(AVOIDED, {"category": "alcohol", "avoid": "off"})
    assert Preferences.for_user(User.objects.get(pk=moderator.pk)).avoided_today() == []


@pytest.mark.parametrize(
    "sent", [{}, {"category": "cats"}, {"category": "alcohol", "avoid": "perhaps"}]
)
def test_avoiding_unknown_category_returns_422(
    client_of: ClientOf, moderator: User, sent: dict[str, str]
) -> None:
    response = client_of(moderator).post(AVOIDED, sent)

    assert response.status_code == 422
    assert "Choose one of the ten categories." in response.content.decode()
    assert not Preferences.objects.filter(user=moderator).exclude(avoided={}).exists()


def test_redirect_to_foreign_url_is_ignored(client_of: ClientOf, moderator: User) -> None:
    response = client_of(moderator).post(
        AVOIDED, {"category": "alcohol", "next": "https://example.org/"}
    )

    assert response["Location"] == PREFERENCES


# --- Exposure and breaks ---
def read_exposure(text: str) -> list[str]:
    part = text.split('id="exposure"')[1].split("</table>")[0]
    return [cell.split("</td>")[0] for cell in part.split('<td class="num">')[1:]]


def test_exposure_is_shown_on_today_and_as_part(
    client_of: ClientOf, moderator: User, other_moderator: User
) -> None:
    add_exposure(moderator, 12, severe=3)
    add_exposure(other_moderator, 77, severe=70)
    Exposure.objects.create(
        user=moderator, started_at=find_current_step() - timedelta(days=1), images=500
    )
    client = client_of(moderator)

    assert read_exposure(client.get("/").content.decode()) == ["12", "3", "12", "3"]
    part = client.get("/exposure/", headers=HTMX).content.decode()
    assert part.startswith('<section class="exposure"')
    assert read_exposure(part) == ["12", "3", "12", "3"]
    assert "77" not in part
    assert client.get("/exposure/")["Location"] == "/"


def test_exposure_counts_decided_and_skipped_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)
    decide(client, make_claimed_review(make_review, moderator), "approve")
    decide(
        client,
        make_claimed_review(make_review, moderator),
        "reject",
        categories=["violence.weapons"],
    )
    client.post(
        reverse("moderation:review-skip", args=[make_claimed_review(make_review, moderator).uuid])
    )

    assert read_exposure(client.get("/").content.decode()) == ["3", "1", "3", "1"]


@pytest.mark.parametrize(
    ("wanted", "images", "is_due"), [(50, 49, False), (50, 50, True), (0, 9999, False)]
)
def test_break_is_suggested_after_the_chosen_number_of_images(
    client_of: ClientOf, moderator: User, wanted: int, images: int, is_due: bool
) -> None:
    Preferences.objects.create(user=moderator, break_after=wanted)
    add_exposure(moderator, images)

    text = client_of(moderator).get("/exposure/", headers=HTMX).content.decode()

    assert ("Take a break" in text) == is_due


def test_break_counts_last_60_minutes_across_hours(
    client_of: ClientOf, make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    Preferences.objects.create(user=moderator, break_after=4)
    client, review_1, review_2 = (
        client_of(moderator),
        *(make_claimed_review(make_review, moderator) for _ in range(2)),
    )
    now = timezone.now().replace(hour=12, minute=59, second=30) + timedelta(days=1)

    def fetch_exposure_at(moment: Any) -> list[str]:
        monkeypatch.setattr(timezone, "now", lambda: moment)
        client.force_login(moderator)
        return read_exposure(client.get("/exposure/", headers=HTMX).content.decode())

    fetch_exposure_at(now)
    Exposure.add(moderator.pk, images=2, severe=1)
    fetch_exposure_at(now + timedelta(minutes=1))
    assert review_1.claim_for(moderator)
    assert review_2.claim_for(moderator)
    decide(client, review_1, "approve")
    decide(client, review_2, "approve")

    assert fetch_exposure_at(now + timedelta(minutes=1)) == ["4", "1", "4", "1"]
    assert "Take a break" in client.get("/exposure/", headers=HTMX).content.decode()
    assert fetch_exposure_at(now + timedelta(minutes=59)) == ["4", "1", "4", "1"]
    assert fetch_exposure_at(now + timedelta(minutes=66)) == ["0", "0", "4", "1"]
    assert Exposure.objects.count() == 2


def test_migration_moves_hourly_exposure_to_newest_step(moderator: User) -> None:
    """Rows with hourly counts keep their images and keep counting for the last hour."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    Exposure.objects.create(user=moderator, started_at=hour, images=3, severe=1)
    Exposure.objects.create(
        user=moderator, started_at=hour - timedelta(hours=1), images=5, is_put_off=True
    )
    Exposure.objects.create(user=moderator, started_at=hour - timedelta(hours=30), images=7)

    migration = import_module("moderation.migrations.0018_exposure_in_steps")
    migration.move_to_newest_step(apps, SimpleNamespace(connection=connection))

    rows = Exposure.objects.order_by("-started_at").values_list(
        "started_at", "images", "severe", "is_put_off"
    )
    assert list(rows) == [
        (find_current_step(), 3, 1, False),
        (hour - timedelta(minutes=5), 5, 0, True),
        (hour - timedelta(hours=30), 7, 0, False),
    ]


def test_break_is_suggested_after_200_images_by_default(
    client_of: ClientOf, moderator: User
) -> None:
    add_exposure(moderator, 200)

    assert "Take a break" in client_of(moderator).get("/").content.decode()


def test_break_suggestion_takes_no_focus_and_keeps_decision_buttons(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    add_exposure(moderator, 200)
    review = make_claimed_review(make_review, moderator)

    text = client_of(moderator).get(get_review_url(review, "waiting")).content.decode()

    part = text.split('id="exposure"')[1].split("</section>")[0]
    assert "Take a break" in part
    assert "autofocus" not in part
    assert "<dialog" not in part
    # The image can still be decided.
    assert 'value="approve"' in text


def test_break_suggestion_is_shown_above_sheet_and_review(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_claimed_review(make_review, moderator), client_of(moderator)
    pages = ("/queues/waiting/sheet/?size=s", get_review_url(review, "waiting"))

    def fetch_break_strips() -> list[str]:
        return [
            client.get(page).content.decode().split('id="break"')[1].split("<section")[0]
            for page in pages
        ]

    assert all(
        "Take a break" not in strip and "every 60s" in strip for strip in fetch_break_strips()
    )
    add_exposure(moderator, 200)
    for strip, page in zip(fetch_break_strips(), pages, strict=True):
        assert "Take a break" in strip
        assert "every 60s" not in strip.split(">")[0], "the suggestion must not repeat"
        assert f'name="next" value="{page}"' in strip, (
            "without a script, postponing redirects back to this page"
        )
        assert 'name="queue" value="waiting"' in strip


def test_break_strip_is_a_part_and_disappears_when_postponed(
    client_of: ClientOf, moderator: User
) -> None:
    add_exposure(moderator, 200)
    client, headers = client_of(moderator), {**HTMX, "HX-Target": "break"}

    due = client.get("/exposure/?queue=waiting", headers=headers).content.decode()
    gone = client.post("/exposure/later/", {"queue": "waiting"}, headers=headers).content.decode()

    assert 'id="break"' in due
    assert 'name="queue" value="waiting"' in due
    assert "<table" not in due
    assert "Take a break" not in gone
    assert 'hx-get="/exposure/?queue=waiting"' in gone


@pytest.mark.parametrize("htmx", [False, True])
def test_break_suggestion_can_be_postponed_for_an_hour(
    client_of: ClientOf, moderator: User, htmx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_exposure(moderator, 200)
    client = client_of(moderator)

    response = client.post("/exposure/later/", {"next": "/queues/"}, headers=HTMX if htmx else {})

    if htmx:
        assert "Take a break" not in response.content.decode()
    else:
        assert response["Location"] == "/queues/"
    assert "Take a break" not in client.get("/").content.decode()
    later = timezone.now() + timedelta(minutes=66)
    monkeypatch.setattr(timezone, "now", lambda: later)
    add_exposure(moderator, 200)
    assert "Take a break" in client.get("/exposure/", headers=HTMX).content.decode()


def test_break_releases_claims_and_shows_page_without_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    add_exposure(moderator, 200)
    mine, theirs = (
        make_claimed_review(make_review, moderator),
        make_claimed_review(make_review, other_moderator),
    )
    client = client_of(moderator)

    response = client.post("/break/", {"queue": "waiting"})

    page = client.get(response["Location"]).content.decode()
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert response["Location"] == "/break/?queue=waiting"
    assert mine.claimed_by is None
    assert theirs.is_held_by(other_moderator)
    assert 'href="/queues/waiting/"' in page
    assert "<img" not in page
    assert "Take a break" not in client.get("/").content.decode()


def test_get_of_break_page_keeps_claims(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_claimed_review(make_review, moderator)

    assert client_of(moderator).get("/break/").status_code == 200

    review.refresh_from_db()
    assert review.is_held_by(moderator)


# --- Privacy ---
def test_admin_site_hides_exposure_and_private_preferences(
    client_of: ClientOf, moderator: User, admin: User
) -> None:
    today = timezone.now().date().isoformat()
    Preferences.objects.create(
        user=moderator, break_after=50, avoided={"alcohol": today}, covers={"violence": "grey"}
    )
    add_exposure(moderator, 123_456, severe=78_901)
    client = client_of(admin)

    pages = [
        client.get(f"/admin/auth/user/{moderator.pk}/change/"),
        client.post(
            "/admin/auth/user/", {"action": "delete_selected", "_selected_action": [moderator.pk]}
        ),
        client.get(f"/admin/auth/user/{moderator.pk}/delete/"),
        client.get(f"/admin/moderation/preferences/{moderator.desk_preferences.pk}/change/"),
        client.get("/admin/moderation/preferences/"),
        client.get("/admin/"),
    ]

    for page in pages:
        assert page.status_code == 200
        for secret in ("123456", "78901", "alcohol", "break_after", "covers", "id_avoided"):
            assert secret not in page.content.decode()
    assert client.get("/admin/moderation/exposure/").status_code == 404


def test_admin_form_keeps_hidden_preferences(
    client_of: ClientOf, moderator: User, admin: User
) -> None:
    mine = Preferences.objects.create(user=moderator, break_after=50, covers={"violence": "grey"})
    sent: dict[str, Any] = {
        "user": moderator.pk,
        "theme": "light",
        "surround": "dark",
        "hotkeys": "on",
        "blur": "on",
    }

    assert (
        client_of(admin).post(f"/admin/moderation/preferences/{mine.pk}/change/", sent).status_code
        == 302
    )

    mine.refresh_from_db()
    assert (mine.theme, mine.break_after, mine.covers) == ("light", 50, {"violence": "grey"})

"""The contact sheet: claims, permissions, tiles, covers and near duplicates."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.models import Decision, Exposure, Preferences, Review
from moderation.queues import QUEUES
from moderation.services import bulk_claims
from tests.moderation.contact_sheet_helpers import (
    claim_sheet,
    confirm_decision,
    decide,
    fetch_sheet,
    preview_decision,
    read_field_values,
)
from tests.moderation.page_helpers import (
    HTMX,
    ClientOf,
    MakeReview,
    add_label,
    get_review_url,
    make_claimed_review,
)

ADDRESS = "/queues/waiting/sheet/"


def make_near_duplicates(make_review: MakeReview, count: int) -> list[Review]:
    """Create near duplicates with their group, as the classification service marks them."""
    made = [make_review() for _ in range(count)]
    Review.objects.filter(pk__in=[one.pk for one in made]).update(
        near_duplicate_group=made[0].asset_id
    )
    return made


def test_selected_tiles_are_approved_blurred(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)
    claim_sheet(client)

    previewed = preview_decision(client, reviews[:2], "blur")
    assert "Approve blurred" in previewed.content.decode()
    confirm_decision(client, previewed)

    blurred = Review.objects.filter(is_blurred=True, status=Review.Status.APPROVED)
    assert set(blurred) == set(reviews[:2])
    assert all(row.is_blurred for row in Decision.objects.all())
    assert "Approved blurred" in fetch_sheet(client)


# --- Claiming ---


def test_sheet_is_claimed_by_post_and_get_writes_nothing(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)

    with CaptureQueriesContext(connection) as queries:
        before = fetch_sheet(client)
    response = claim_sheet(client)
    after = fetch_sheet(client)

    assert "No sheet open" in before
    writes = {"INSERT", "UPDATE", "DELETE"}
    assert not [
        q["sql"]
        for q in queries
        if q["sql"].split()[0] in writes and "django_session" not in q["sql"]
    ]
    assert (response.status_code, response["Location"]) == (303, ADDRESS)
    assert set(read_field_values(after, "tile")) == {str(review.uuid) for review in reviews}
    assert Review.objects.held_by(moderator).count() == 3


def test_sheet_has_a_size_limit_and_is_refilled(
    client_of: ClientOf, make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_claims, "SHEET_SIZE", 3)
    reviews, client = [make_review() for _ in range(5)], client_of(moderator)

    claim_sheet(client)
    assert set(read_field_values(fetch_sheet(client), "tile")) == {
        str(one.uuid) for one in reviews[:3]
    }
    Review.objects.filter(pk=reviews[0].pk).update(
        claimed_until=timezone.now() + timedelta(seconds=9)
    )
    decide(client, reviews[1:2])
    claim_sheet(client)

    assert set(read_field_values(fetch_sheet(client), "tile")) == {
        str(reviews[place].uuid) for place in (0, 2, 3)
    }
    reviews[0].refresh_from_db()
    assert reviews[0].claimed_until is not None
    assert reviews[0].claimed_until > timezone.now() + timedelta(minutes=4)


def test_sheet_follows_filters_of_its_url(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    drink, other, client = make_review(), make_review(), client_of(moderator)
    add_label(drink, "alcohol.use")

    response = claim_sheet(client, f"{ADDRESS}?category=alcohol&order=oldest&size=l")
    text = fetch_sheet(client, response["Location"])

    assert response["Location"] == f"{ADDRESS}?category=alcohol&order=oldest&size=l"
    assert read_field_values(text, "tile") == [str(drink.uuid)]
    assert 'data-size="l"' in text
    assert f"{ADDRESS}decisions/?category=alcohol&amp;order=oldest&amp;size=l" in text
    other.refresh_from_db()
    assert other.claimed_by is None


def test_sheet_leaves_out_avoided_and_skipped_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    avoided, skipped, client = make_review(), make_review(), client_of(moderator)
    Review.objects.filter(pk=avoided.pk).update(top_category_l1="violence")
    Preferences.objects.create(
        user=moderator, avoided={"violence": timezone.now().date().isoformat()}
    )
    client.post(f"/reviews/{skipped.uuid}/skip/", {"queue": "waiting"})

    nothing = claim_sheet(client)
    again = claim_sheet(client, again="1")

    assert nothing["Location"] == "/queues/waiting/"
    assert "Nothing is left for you" in client.get("/queues/waiting/").content.decode()
    assert again["Location"] == ADDRESS
    assert read_field_values(fetch_sheet(client), "tile") == [str(skipped.uuid)]


@pytest.mark.django_db(transaction=True)
def test_concurrent_claims_give_disjoint_sheets(
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk_claims, "SHEET_SIZE", 5)
    for _ in range(3):
        make_near_duplicates(make_review, 4)
    people, start, faults = (moderator, other_moderator, senior), threading.Barrier(3), []

    def take(person: User) -> None:
        try:
            start.wait()
            for _ in range(3):
                bulk_claims.fill_sheet(user=person, queue=QUEUES["waiting"])
        except Exception as fault:
            faults.append(fault)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=take, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    owned = [
        {one.pk for one in bulk_claims.list_sheet(user=person, queue=QUEUES["waiting"])}
        for person in people
    ]
    assert sum(len(pks) for pks in owned) == len(set().union(*owned)) == 12


def test_next_sheet_skips_remaining_images_and_counts_exposure(
    client_of: ClientOf, make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_claims, "SHEET_SIZE", 2)
    first, second, third = (make_review() for _ in range(3))
    client = client_of(moderator)
    claim_sheet(client)

    response = client.post(
        f"{ADDRESS}return/", {"shown": read_field_values(fetch_sheet(client), "shown"), "next": "1"}
    )

    assert response["Location"] == ADDRESS
    assert read_field_values(fetch_sheet(client), "tile") == [str(third.uuid)]
    assert Exposure.objects.get(user=moderator).images == 2
    first.refresh_from_db(), second.refresh_from_db()
    assert first.claimed_by is second.claimed_by is None
    assert "You skipped" in client.get("/queues/waiting/").content.decode()


def test_returning_a_sheet_skips_nothing_and_keeps_other_claims(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    mine, theirs = make_review(), make_claimed_review(make_review, other_moderator)
    client = client_of(moderator)
    claim_sheet(client)

    response = client.post(
        f"{ADDRESS}return/", {"shown": [str(mine.uuid), str(theirs.uuid), "nonsense"]}
    )

    assert response["Location"] == "/queues/waiting/"
    mine.refresh_from_db(), theirs.refresh_from_db()
    assert mine.claimed_by is None
    assert theirs.is_held_by(other_moderator)
    assert "You skipped" not in client.get("/queues/waiting/").content.decode()


def test_renewal_and_release_accept_a_whole_sheet(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    """The URLs that the script calls accept as many claims as a sheet can have."""
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)
    claim_sheet(client)
    have = ["7c2ee4a1-16be-4ff3-9b37-000000000000"] * (
        bulk_claims.SHEET_SIZE + bulk_claims.DUPLICATES_MAX - 3
    )
    have += [str(review.uuid) for review in reviews]

    kept = client.post("/claims/renewal/", {"have": have}).json()
    client.post("/claims/release/", {"have": have})

    assert len(kept["held"]) == 3
    assert Review.objects.held_by(moderator).count() == 0


# --- Permissions ---


def test_sheet_needs_login_and_decide_permission(
    client: Client, client_of: ClientOf, make_review: MakeReview, auditor: User, moderator: User
) -> None:
    make_review()

    assert claim_sheet(client)["Location"].startswith("/login/")
    for path in ("", "decisions/", "return/"):
        assert client_of(auditor).post(ADDRESS + path).status_code == 404
        assert client_of(moderator).post(f"/queues/escalated/sheet/{path}").status_code == 404
        assert client_of(moderator).post(f"/queues/nowhere/sheet/{path}").status_code == 404
    assert client_of(auditor).get(ADDRESS).status_code == 404
    assert client_of(moderator).get(f"{ADDRESS}decisions/").status_code == 405
    assert not Review.objects.filter(claimed_by__isnull=False).exists()


# --- Display ---


def test_sheet_loads_thumbnails_only_of_uncovered_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    plain, grey, blurred = (make_review() for _ in range(3))
    Review.objects.filter(pk=grey.pk).update(top_category_l1="violence")
    Review.objects.filter(pk=blurred.pk).update(top_category_l1="alcohol")
    client = client_of(moderator)
    claim_sheet(client)

    def sources() -> list[bool]:
        text = fetch_sheet(client)
        return [f'src="{one.asset.thumbnail_url}"' in text for one in (plain, grey, blurred)]

    assert sources() == [False, False, False]
    Preferences.objects.create(
        user=moderator, blur=False, covers={"violence": "grey", "alcohol": "blur"}
    )
    assert sources() == [True, True, False]
    assert fetch_sheet(client).count("data-grey") == 1
    everything = fetch_sheet(client, f"{ADDRESS}?reveal=1")
    assert f'src="{blurred.asset.thumbnail_url}"' in everything
    assert "Blur all" in everything


def test_preview_shows_thumbnails_only_of_revealed_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    seen, unseen, client = make_review(), make_review(), client_of(moderator)
    claim_sheet(client)

    text = (
        preview_decision(client, [seen, unseen], seen=[str(seen.uuid)])
        .content.decode()
        .split('id="act"')[1]
    )

    assert f'src="{seen.asset.thumbnail_url}"' in text
    assert unseen.asset.thumbnail_url not in text
    assert "of them you have seen only blurred" in text


def test_tile_has_text_description(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_review(), client_of(moderator)
    Review.objects.filter(pk=review.pk).update(top_category="violence.weapons", top_confidence=87)
    claim_sheet(client)

    assert f'aria-label="Weapons 87, image {review.asset.short_id}"' in fetch_sheet(client)


def test_sheet_stays_within_query_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    make_request: Any,
    moderator: User,
    django_assert_max_num_queries: Any,
) -> None:
    client = client_of(moderator)
    for _ in range(6):
        make_review()
    make_near_duplicates(make_review, 4)
    with django_assert_max_num_queries(14):  # including two savepoints
        claim_sheet(client)

    with django_assert_max_num_queries(9):
        assert len(read_field_values(fetch_sheet(client), "tile")) == 7


def test_htmx_request_returns_only_the_sheet(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    make_review()
    client = client_of(moderator)
    claim_sheet(client)

    part = client.get(f"{ADDRESS}?size=s", headers=HTMX)

    assert b"<!doctype" not in part.content
    assert b'id="sheet"' in part.content
    assert (part["HX-Retarget"], part["HX-Replace-Url"]) == ("#sheet", f"{ADDRESS}?size=s")
    for forbidden in (" style=", " onclick=", " hx-on", "<style", "javascript:"):
        assert forbidden not in fetch_sheet(client)


@pytest.mark.parametrize(
    "query", ["size=xl", "open=x", "open=99999999999999999999999", "batch=1", "reveal=2"]
)
def test_sheet_ignores_invalid_query_values(
    client_of: ClientOf, make_review: MakeReview, moderator: User, query: str
) -> None:
    make_review()
    client = client_of(moderator)
    claim_sheet(client)

    assert len(read_field_values(fetch_sheet(client, f"{ADDRESS}?{query}"), "tile")) == 1


# --- Near duplicates ---


def test_near_duplicates_share_one_tile_and_one_batch(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    other, group, client = make_review(), make_near_duplicates(make_review, 4), client_of(moderator)
    claim_sheet(client)

    text = fetch_sheet(client)
    done = decide(client, group[:1], "reject", categories=["gambling"])

    assert read_field_values(text, "tile") == [str(other.uuid), str(group[0].uuid)]
    assert "×4" in text
    assert {decision.review_id for decision in Decision.objects.all()} == {one.pk for one in group}
    assert len({decision.batch for decision in Decision.objects.all()}) == 1
    assert "Rejected</span> <span" in fetch_sheet(client, done["Location"])
    assert "4</span> images as Gambling" in fetch_sheet(client, done["Location"])


def test_near_duplicates_are_claimed_together_up_to_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulk_claims, "SHEET_SIZE", 1)
    monkeypatch.setattr(bulk_claims, "DUPLICATES_MAX", 3)
    group = make_near_duplicates(make_review, 6)
    group[1].claim_for(other_moderator)
    Review.objects.filter(pk=group[2].pk).update(risk=5)
    far = make_review()

    claim_sheet(client_of(moderator))

    mine = set(Review.objects.held_by(moderator))
    assert len(mine) == 4, "one image and three near duplicates"
    assert group[1] not in mine
    assert far not in mine


def test_near_duplicate_group_is_expanded_and_collapsed_by_url(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    group, client = make_near_duplicates(make_review, 3), client_of(moderator)
    claim_sheet(client)
    near_duplicate_group = group[0].asset_id

    apart = f"{ADDRESS}?open={near_duplicate_group}"
    assert f'data-toggle="{apart}"' in fetch_sheet(client)
    text = fetch_sheet(client, apart)
    assert read_field_values(text, "tile") == [str(one.uuid) for one in group]
    assert f'data-toggle="{ADDRESS}"' in text
    shown = read_field_values(text, "shown")
    address = f"{ADDRESS}decisions/?open={near_duplicate_group}"
    only = client.post(
        address, {"verdict": "approve", "tile": [str(group[1].uuid)], "shown": shown}
    )

    assert read_field_values(only.content.decode(), "review") == [str(group[1].uuid)]
    confirm_decision(client, only)
    assert [decision.review_id for decision in Decision.objects.all()] == [group[1].pk]


def test_near_duplicate_alone_on_sheet_is_a_plain_tile(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    group = make_near_duplicates(make_review, 2)
    group[1].claim_for(other_moderator)
    client = client_of(moderator)
    claim_sheet(client)

    assert "data-toggle" not in fetch_sheet(client)
    assert get_review_url(group[0]) in fetch_sheet(client)


@pytest.mark.parametrize("lost", [0, 2])
def test_near_duplicates_lost_after_display_are_left_out_and_named(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User, lost: int
) -> None:
    group, client = make_near_duplicates(make_review, 3), client_of(moderator)
    claim_sheet(client)
    shown = read_field_values(fetch_sheet(client), "shown")
    Review.objects.filter(pk=group[lost].pk).update(claimed_by=other_moderator)

    response = client.post(
        f"{ADDRESS}decisions/", {"verdict": "approve", "tile": shown[:1], "shown": shown}
    )

    text = response.content.decode()
    kept = [str(one.uuid) for one in group if one != group[lost]]
    assert read_field_values(text, "review") == kept
    assert f"1 left out, because you no longer hold them: {group[lost].asset.short_id}." in text


def test_approving_the_rest_names_lost_images_but_no_selected_ones(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    chosen, rest, client = (
        make_near_duplicates(make_review, 2),
        make_near_duplicates(make_review, 3),
        client_of(moderator),
    )
    claim_sheet(client)
    tile, shown = str(chosen[0].uuid), read_field_values(fetch_sheet(client), "shown")
    Review.objects.filter(pk__in=[chosen[0].pk, chosen[1].pk, rest[1].pk]).update(
        claimed_by=other_moderator
    )

    response = client.post(
        f"{ADDRESS}decisions/", {"rest": "approve", "tile": [tile], "shown": shown}
    )

    text = response.content.decode()
    assert read_field_values(text, "review") == [str(rest[0].uuid), str(rest[2].uuid)]
    assert f"1 left out, because you no longer hold them: {rest[1].asset.short_id}." in text

"""Pages of the desk over HTTP, with htmx and without."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from moderation.models import Classification, Decision, Label, Preferences, Review
from tests.conftest import picture
from tests.moderation.page_helpers import (
    HTMX,
    ClientOf,
    MakeReview,
    decide,
    get_review_url,
    make_claimed_review,
    start_queue,
    store_classification_summary,
)

# --- Permissions ---


@pytest.mark.parametrize(
    "name",
    ["home", "moderation:queue-list", "moderation:decision-list", "moderation:decisions-csv"],
)
def test_pages_redirect_to_login(db: None, client: Client, name: str) -> None:
    response = client.get(reverse(name))

    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


def test_review_urls_redirect_to_login(client: Client, make_review: MakeReview) -> None:
    review = make_review()
    args = [review.uuid]

    assert client.get(get_review_url(review)).status_code == 302
    for name in ("decision-create", "review-claim", "review-skip", "decision-reverse"):
        assert client.post(reverse(f"moderation:{name}", args=args)).status_code == 302
    assert client.post(reverse("moderation:undo")).status_code == 302
    assert start_queue(client)["Location"].startswith(reverse("account_login"))
    review.refresh_from_db()
    assert review.status == Review.Status.PENDING


def test_review_without_role_returns_404(
    client_of: ClientOf, make_review: MakeReview, db: None
) -> None:
    nobody = User.objects.create_user("nobody", password="x")
    review = make_review()

    assert client_of(nobody).get(get_review_url(review)).status_code == 404
    assert client_of(nobody).get("/queues/waiting/").status_code == 404
    assert client_of(nobody).get("/decisions/").status_code == 403


def test_auditor_sees_review_read_only(
    client_of: ClientOf, make_review: MakeReview, auditor: User
) -> None:
    review = make_review()
    client = client_of(auditor)

    page = client.get(get_review_url(review))
    refused = decide(client, review, "approve")

    assert b"Read-only." in page.content
    assert b'name="verdict"' not in page.content
    assert refused.status_code == 403
    assert Decision.objects.count() == 0


def test_health_and_login_pages_need_no_login(db: None, client: Client) -> None:
    assert client.get("/healthz").content == b"ok"
    state = client.get("/readyz").json()
    assert "No worker" in state.pop("workers")
    assert state == dict.fromkeys(
        ("database", "migrations", "queue", "server", "storage", "disk"), "ok"
    )
    assert client.get("/login/").status_code == 200


# --- GET ---


def test_get_requests_write_nothing(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_review(), client_of(moderator)
    client.get("/")

    for address in (
        "/",
        "/queues/",
        "/queues/waiting/",
        get_review_url(review),
        get_review_url(review, "waiting"),
        get_review_url(review) + "?reveal=1",
        "/decisions/",
        "/healthz",
        "/readyz",
    ):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(address).status_code == 200
        assert not [
            q["sql"] for q in queries if q["sql"].split()[0] in {"INSERT", "UPDATE", "DELETE"}
        ], address
    review.refresh_from_db()
    assert review.claimed_by is None


@pytest.mark.parametrize("name", ["decision-create", "review-claim", "review-skip"])
def test_actions_return_405_to_get(
    client_of: ClientOf, make_review: MakeReview, moderator: User, name: str
) -> None:
    assert (
        client_of(moderator)
        .get(reverse(f"moderation:{name}", args=[make_review().uuid]))
        .status_code
        == 405
    )


def test_image_url_is_absent_until_revealed(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_review(), client_of(moderator)

    for address in (get_review_url(review), "/queues/waiting/", "/decisions/", "/"):
        text = client.get(address).content.decode()
        assert review.asset.file_url not in text
        assert f'src="{review.asset.thumbnail_url}"' not in text
    assert review.asset.preview in client.get(get_review_url(review)).content.decode()
    assert (
        review.asset.file_url in client.get(get_review_url(review) + "?reveal=1").content.decode()
    )
    viewer = client.get(
        get_review_url(review) + "?reveal=1", headers={**HTMX, "HX-Target": "viewer"}
    ).content.decode()
    assert viewer.startswith('<section class="viewer" id="viewer"')
    assert review.asset.file_url in viewer


def test_image_is_shown_at_once_with_blur_off(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_review(), client_of(moderator)
    Preferences.objects.create(user=moderator, blur=False)

    assert review.asset.file_url in client.get(get_review_url(review)).content.decode()
    assert (
        review.asset.file_url
        not in client.get(get_review_url(review) + "?reveal=0").content.decode()
    )


def test_htmx_request_returns_panel_and_others_the_page(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review, client = make_review(), client_of(moderator)

    page, part = (
        client.get(get_review_url(review)),
        client.get(get_review_url(review), headers=HTMX),
    )

    assert page.content.lstrip().startswith(b"<!doctype html>")
    assert b"<!doctype" not in part.content
    assert b'id="panel"' in part.content
    assert "HX-Request" in page["Vary"]
    assert "HX-Request" in part["Vary"]


def test_review_page_has_no_inline_styles_or_scripts(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_claimed_review(make_review, moderator)
    text = client_of(moderator).get(get_review_url(review)).content.decode()

    for forbidden in (" style=", " onclick=", " hx-on", "<style", "javascript:"):
        assert forbidden not in text


def test_review_and_queue_pages_stay_within_query_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    django_assert_max_num_queries: Any,
) -> None:
    review = make_claimed_review(make_review, moderator)
    for _ in range(12):
        make_review()
    for number in range(4):
        run = Classification.objects.create(
            asset=review.asset,
            classifier=f"c{number}",
            version="1",
            status="done",
            covers={"explicit": "full"},
        )
        Label.objects.create(classification=run, category="explicit.nudity", confidence=80)
    store_classification_summary(review)
    client = client_of(moderator)
    decide(client, make_review(), "approve")

    with django_assert_max_num_queries(12):
        client.get(get_review_url(review, "waiting"))
    with django_assert_max_num_queries(10):
        client.get("/queues/waiting/")
    # Three are for the plots, one for calibration sessions; the page's poll leaves them out.
    with django_assert_max_num_queries(14):
        client.get("/")


def test_labels_show_coverage_score_and_failure_of_classifiers(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_review()
    Classification.objects.create(
        asset=review.asset,
        classifier="local",
        version="1",
        status="done",
        covers={"explicit": "partial"},
    )
    Classification.objects.create(
        asset=review.asset, classifier="novita", version="1", status="done", score=63
    )
    Classification.objects.create(
        asset=review.asset, classifier="x", version="1", status="failed", error="It was asleep."
    )
    store_classification_summary(review)

    text = client_of(moderator).get(get_review_url(review)).content.decode()

    assert "Detects only, and in part: Explicit." in text
    assert "NSFW score" in text
    assert "It was asleep." in text
    assert 'data-status="failed">Failed<' in text


# --- Claims ---


def test_start_claims_next_review_and_redirects_to_it(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_review()

    response = start_queue(client_of(moderator))

    assert response.status_code == 303
    assert response["Location"] == get_review_url(review, "waiting")
    review.refresh_from_db()
    assert review.is_held_by(moderator)


def test_two_moderators_get_different_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    reviews = [make_review() for _ in range(4)]
    mine, theirs = client_of(moderator), client_of(other_moderator)
    given = []

    for _ in range(2):
        for client in (mine, theirs):
            given.append(start_queue(client)["Location"])
            decide(
                client,
                next(r for r in reviews if r.get_absolute_url() in given[-1]),
                "approve",
                queue="",
            )

    assert len(set(given)) == 4


def test_claiming_review_of_another_moderator_returns_409(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    review = make_claimed_review(make_review, other_moderator)
    client = client_of(moderator)

    page = client.get(get_review_url(review))
    claim = client.post(reverse("moderation:review-claim", args=[review.uuid]), headers=HTMX)

    assert b"<bdi>other</bdi> is deciding this image." in page.content
    assert claim.status_code == 409
    assert claim["HX-Retarget"] == "#panel"
    assert b"other has taken this review" in claim.content


def test_claim_request_renews_the_claim(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    review = make_claimed_review(make_review, moderator)
    Review.objects.filter(pk=review.pk).update(claimed_until=timezone.now() + timedelta(seconds=20))

    response = client_of(moderator).post(
        reverse("moderation:review-claim", args=[review.uuid]),
        headers={**HTMX, "HX-Target": "claim"},
    )

    assert b'id="claim"' in response.content
    assert b'id="panel"' not in response.content
    review.refresh_from_db()
    assert review.claimed_until is not None
    assert review.claimed_until > timezone.now() + timedelta(minutes=4)


# --- Record, preferences, arrivals and similar images ---


def test_url_filters_narrow_the_record(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    client = client_of(moderator)
    kept, other = (
        make_claimed_review(make_review, moderator),
        make_claimed_review(make_review, moderator),
    )
    decide(client, kept, "reject", categories=["violence.weapons"])
    decide(client, other, "approve")

    text = client_of(auditor).get("/decisions/?verdict=reject&category=violence").content.decode()

    assert kept.asset.short_id in text
    assert other.asset.short_id not in text
    assert "/exports/decisions.csv?verdict=reject&amp;category=violence" in text
    assert "Download CSV" not in client.get("/decisions/").content.decode()
    wrong = client.get("/decisions/?start=2026-02-02&end=2026-02-01").content.decode()
    assert "before the first one" in wrong
    assert kept.asset.short_id not in wrong


def test_preferences_are_stored_and_redirect_to_next(client_of: ClientOf, moderator: User) -> None:
    client = client_of(moderator)

    response = client.post(
        reverse("preferences"), {"theme": "light", "hotkeys": "off", "next": "/queues/"}
    )

    assert response.status_code == 303
    assert response["Location"] == "/queues/"
    assert b'data-theme="light" data-hotkeys="off"' in client.get("/").content
    assert Preferences.for_user(moderator).blur is True
    foreign = client.post(reverse("preferences"), {"blur": "off", "next": "https://example.org/"})
    assert foreign["Location"] == "/"
    assert client.post(reverse("preferences"), {"theme": "pink"}).status_code == 422
    assert client.post(reverse("preferences"), {"blur": "perhaps"}).status_code == 422
    assert client.post(reverse("preferences"), {"surround": "mid"}, headers=HTMX).status_code == 204


def test_preferences_without_login_store_nothing(db: None, client: Client) -> None:
    assert client.post(reverse("preferences"), {"theme": "light"}).status_code == 303
    assert Preferences.objects.count() == 0


def test_arrivals_shows_number_of_new_images(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    make_review()
    client = client_of(moderator)
    page = client.get("/queues/waiting/").content.decode()
    address = (
        page.partition('id="arrivals" role="status" hx-get="')[2]
        .partition('"')[0]
        .replace("&amp;", "&")
    )

    before = client.get(address, headers=HTMX).content.decode()
    for _ in range(2):
        make_review()
    after = client.get(address, headers=HTMX).content.decode()

    assert "new: show" not in before
    assert '<span class="num">2</span> new: show' in after
    assert 'id="queue-count" hx-swap-oob="true">3<' in after
    assert client.get("/queues/waiting/arrivals/?since=x").status_code == 200
    assert client.get("/queues/escalated/arrivals/?since=1").status_code == 404


def test_review_page_shows_similar_images_with_their_status(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    one = make_review(content=picture(5))
    other = make_review(content=picture(5, image_format="JPEG"))
    stranger = make_review(content=picture(6))
    assert one.claim_for(moderator)
    decide(client_of(moderator), one, "approve")

    text = client_of(moderator).get(get_review_url(other)).content.decode()
    similar = text.partition("Similar images")[2].partition("</section>")[0]

    assert str(one.uuid) in similar
    assert "Approved" in similar
    assert "of 256 bits apart" in similar
    assert str(stranger.uuid) not in similar
    assert (
        "Similar images" not in client_of(moderator).get(get_review_url(stranger)).content.decode()
    )

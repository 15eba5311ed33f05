"""Golden images: unseen in the queue, no effect on the record, results for one person alone."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from moderation.models import (
    Decision,
    Delivery,
    Exposure,
    GoldenAnswer,
    GoldenImage,
    Review,
)
from moderation.models.reviews import UNDO_WINDOW
from moderation.services import decisions, golden_images
from tests.moderation.page_helpers import (
    ClientOf,
    MakeReview,
    decide,
    get_review_url,
    start_queue,
)
from tests.moderation.second_opinion_helpers import REASON, judge

LIST, OWN = "/team/golden/", "/history/golden/"
EXPLANATION = "The knife is a stage prop"


@pytest.fixture(autouse=True)
def _draw_after_every_decision(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.GOLDEN_PERCENT, settings.SECOND_OPINION_PERCENT = 100, 0
    monkeypatch.setattr("moderation.services.claims.AUDIT_EVERY", 2**200)


@pytest.fixture
def golden(make_review: MakeReview, senior: User, other_moderator: User) -> GoldenImage:
    review = make_review()
    judge(review, other_moderator, "reject")
    review.refresh_from_db()
    return golden_images.mark(review=review, user=senior, explanation=EXPLANATION)


def refill(client: Client, review: Review, verdict: str = "approve", **data: Any) -> str:
    """Decide an image of the deck; return the panels that refill it."""
    given = {"queue": "waiting", "deck": "1", "want": "1", **data}
    answer = decide(client, review, verdict, **given)
    assert answer.status_code == 200
    return str(answer.content.decode())


def get_named(text: str) -> list[str]:
    return re.findall(r'data-review="([0-9a-f-]{36})"', text)


def receive(client: Client, make_review: MakeReview, golden: GoldenImage) -> str:
    """Decide a first image; return the panel of the golden one that follows."""
    make_review()
    start_queue(client)
    first = Review.objects.waiting().get(claimed_by__isnull=False)
    panel = refill(client, first)
    assert get_named(panel) == [str(golden.review.uuid)]
    return panel


def backdate(golden: GoldenImage, person: User, **by: float) -> None:
    rows = GoldenAnswer.objects.filter(golden_image=golden, person=person)
    rows.update(answered_at=timezone.now() - timedelta(**by))


def mask(panel: str, review: Review) -> str:
    """Replace what is different in the panels of any two images."""
    asset = review.asset
    for text, word in (
        (str(review.uuid), "REVIEW"),
        (str(asset.uuid), "ASSET"),
        (asset.short_id, "SHORT"),
        (asset.sha256, "SHA"),
        (asset.preview, "PREVIEW"),
        (asset.original_sha256, "SHA"),
    ):
        panel = panel.replace(text, word) if text else panel
    panel = re.sub(r"[\d.]+\sKB", "SIZE", panel)
    panel = re.sub(r'datetime="[^"]*"', "", panel)
    panel = re.sub(r'(title|data-seconds|value)="[^"]*"', "", panel)
    return re.sub(r">\d+ (s|min|h|d)<|\d\d:\d\d:\d\d", "", panel)


def test_panel_of_golden_image_equals_that_of_a_waiting_one(
    client_of: ClientOf, make_review: MakeReview, golden: GoldenImage, moderator: User
) -> None:
    client = client_of(moderator)
    panel = receive(client, make_review, golden)
    ordinary = make_review()
    after = refill(client, golden.review)

    assert get_named(after) == [str(ordinary.uuid)]
    assert mask(panel, golden.review) == mask(after, ordinary)
    assert 'data-action-bar="deciding"' in panel


def test_answer_changes_neither_review_nor_record_nor_deliveries(
    client_of: ClientOf, make_review: MakeReview, golden: GoldenImage, moderator: User
) -> None:
    client = client_of(moderator)
    receive(client, make_review, golden)
    before = Review.objects.filter(pk=golden.review.pk).values(
        "status", "decided_at", "decided_by", "second_opinion", "is_blurred"
    )
    kept, record, sent = list(before), Decision.objects.count(), Delivery.objects.count()

    refill(client, golden.review, "approve", seconds="4.2")

    answer = GoldenAnswer.objects.get()
    assert (answer.person, answer.verdict, str(answer.seconds)) == (moderator, "approve", "4.2")
    assert not answer.agrees
    assert list(before.all()) == kept
    assert (Decision.objects.count(), Delivery.objects.count()) == (record, sent)
    assert Review.objects.get(pk=golden.review.pk).claimed_by is None
    assert sum(row.images for row in Exposure.objects.filter(user=moderator)) == 2


def test_golden_image_counts_as_held_and_as_decided_today(
    client_of: ClientOf, make_review: MakeReview, golden: GoldenImage, moderator: User
) -> None:
    client = client_of(moderator)
    receive(client, make_review, golden)

    held = client.get("/queues/mine/").content.decode()
    refill(client, golden.review, "reject", categories=REASON)
    live = client.get("/live/").content.decode()

    assert golden.review.asset.short_id in held
    assert "Rejected" not in held.split("<main")[1].split("</main>")[0]
    assert re.search(r'data-verdict="reject"[^>]*>(?:(?!</).)*?1', live, re.DOTALL) or "1" in live
    row = client.get("/history/").content.decode()
    assert row.count("data-row>") == 2


@pytest.mark.parametrize("path", ["review", "dossier", "search", "decisions"])
def test_no_page_tells_the_known_answer_before_the_answer(
    client_of: ClientOf,
    make_review: MakeReview,
    golden: GoldenImage,
    moderator: User,
    path: str,
) -> None:
    client = client_of(moderator)
    receive(client, make_review, golden)
    review = golden.review
    address = {
        "review": get_review_url(review, "waiting"),
        "dossier": f"/assets/{review.asset.uuid}/",
        "search": f"/search/?q={review.asset.short_id}",
        "decisions": f"/decisions/?q={review.asset.short_id}",
    }[path]

    main = client.get(address).content.decode().split("<main")[1].split('id="deck"')[0]

    assert 'data-status="rejected"' not in main
    assert "other_moderator" not in main
    assert "Only a settled image" not in main


def test_renewal_skip_and_undo_work_as_for_any_image(
    client_of: ClientOf, make_review: MakeReview, golden: GoldenImage, moderator: User
) -> None:
    client, review = client_of(moderator), golden.review
    receive(client, make_review, golden)
    claim = reverse("moderation:review-claim", args=[review.uuid])

    renewed = client.post(claim, headers={"HX-Request": "true", "HX-Target": "claim"})
    refill(client, review, "approve")
    undone = client.post(
        reverse("moderation:undo"), {"deck": "1", "queue": "waiting", "review": str(review.uuid)}
    )
    again = GoldenAnswer.objects.get()

    assert renewed.status_code == 200
    assert get_named(undone.content.decode()) == [str(review.uuid)]
    assert 'data-action-bar="deciding"' in undone.content.decode()
    assert (again.verdict, again.answered_at) == ("", None)

    client.post(
        reverse("moderation:review-skip", args=[review.uuid]), {"deck": "1", "queue": "waiting"}
    )
    assert Review.objects.get(pk=review.pk).claimed_by is None


def test_answer_sent_twice_is_stored_once(
    client_of: ClientOf, make_review: MakeReview, golden: GoldenImage, moderator: User
) -> None:
    client, name = client_of(moderator), str(uuid4())
    receive(client, make_review, golden)

    refill(client, golden.review, "approve", decision=name)
    refill(client, golden.review, "approve", decision=name)

    assert str(GoldenAnswer.objects.get().uuid) == name


def test_each_golden_image_is_given_once_and_never_to_those_who_know_it(
    client_of: ClientOf,
    make_review: MakeReview,
    golden: GoldenImage,
    moderator: User,
    other_moderator: User,
    senior: User,
) -> None:
    client = client_of(moderator)
    receive(client, make_review, golden)
    refill(client, golden.review)

    def find(person: User) -> int | None:
        return golden_images.find_next(person, uuid4(), skipped=(), avoided=())

    assert find(moderator) is None  # has answered it
    assert find(other_moderator) is None  # has decided it
    assert find(senior) is None  # sees the list
    newcomer = User.objects.create_user("newcomer")
    assert find(newcomer) == golden.review.pk
    golden_images.retire(golden_image=golden, user=senior)
    assert find(newcomer) is None


def test_draw_takes_the_set_share(settings: Any, moderator: User) -> None:
    settings.GOLDEN_PERCENT = 10

    drawn = sum(golden_images.is_drawn(moderator, uuid4()) for _ in range(3000))

    assert 210 < drawn < 390


def test_decision_before_a_golden_image_stays_within_query_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    golden: GoldenImage,
    moderator: User,
    settings: Any,
    django_assert_max_num_queries: Any,
) -> None:
    client = client_of(moderator)
    receive(client, make_review, golden)
    make_review()

    with django_assert_max_num_queries(15):
        refill(client, golden.review)


def test_own_results_appear_after_the_undo_window_for_the_person_alone(
    client_of: ClientOf,
    make_review: MakeReview,
    golden: GoldenImage,
    moderator: User,
    senior: User,
) -> None:
    client = client_of(moderator)
    receive(client, make_review, golden)
    refill(client, golden.review, "reject", categories=REASON)
    hidden = client.get(OWN).content.decode()

    backdate(golden, moderator, seconds=UNDO_WINDOW.total_seconds() + 1)
    shown = client.get(OWN).content.decode()
    others = client_of(senior).get(OWN).content.decode()

    assert EXPLANATION not in hidden
    assert EXPLANATION in shown
    assert "1 of 1" in shown
    assert EXPLANATION not in others


def test_team_results_are_hidden_until_three_people_answered(
    client_of: ClientOf, golden: GoldenImage, senior: User
) -> None:
    client = client_of(senior)
    people = [User.objects.create_user(f"answering_{number}") for number in range(3)]
    yesterday = timezone.now() - timedelta(days=1)
    for person in people[:2]:
        GoldenAnswer.objects.create(
            golden_image=golden, person=person, verdict="reject", answered_at=yesterday
        )
    few = client.get(LIST).content.decode()
    GoldenAnswer.objects.create(
        golden_image=golden, person=people[2], verdict="approve", answered_at=yesterday
    )
    enough = client.get(LIST).content.decode()

    assert "No figures yet" in few
    assert "2 of 3" in enough or "67 %" in enough
    assert "answering_" not in few + enough
    assert golden_images.measure_team()[0].answers == 3


def test_admin_site_does_not_show_answers() -> None:
    assert GoldenAnswer not in admin.site._registry


def test_senior_marks_a_settled_image_and_nobody_an_open_or_automatic_one(
    client_of: ClientOf, make_review: MakeReview, senior: User, moderator: User
) -> None:
    client, review, open_one = client_of(senior), make_review(), make_review()
    judge(review, moderator, "approve")

    page = client.get(get_review_url(review)).content.decode()
    answer = client.post(f"/reviews/{review.uuid}/golden/", {"explanation": EXPLANATION})
    refused = client.post(f"/reviews/{open_one.uuid}/golden/")
    twice = client.post(f"/reviews/{review.uuid}/golden/")

    assert f"/reviews/{review.uuid}/golden/" in page
    assert answer.status_code == 303
    assert (refused.status_code, twice.status_code) == (409, 409)
    row = GoldenImage.objects.get()
    assert (row.verdict, row.explanation, row.marked_by) == ("approve", EXPLANATION, senior)
    assert EXPLANATION in client.get(LIST).content.decode()
    assert client_of(moderator).get(LIST).status_code == 403


def test_golden_image_decided_anew_is_not_given(
    make_review: MakeReview, golden: GoldenImage, senior: User
) -> None:
    decision = Decision.objects.get(review=golden.review)
    decisions.reverse(decision=decision, user=senior, note="It is harmless")
    judge(golden.review, senior, "approve")
    newcomer = User.objects.create_user("newcomer")

    assert golden_images.find_next(newcomer, uuid4(), skipped=(), avoided=()) is None

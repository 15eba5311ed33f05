"""Calibration sessions: blind answers, the comparison, and who may see it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from moderation.judgement.agreement import estimate_group_kappa
from moderation.models import (
    CalibrationAnswer,
    CalibrationSession,
    Decision,
    Review,
)
from moderation.services import calibrations
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.second_opinion_helpers import REASON, judge

NEW = "/team/calibrations/new/"
NOTE = "A toy, I think"


@pytest.fixture
def settled(make_review: MakeReview, other_moderator: User, settings: Any) -> list[Review]:
    settings.SECOND_OPINION_PERCENT = 0
    reviews = [make_review() for _ in range(2)]
    for review in reviews:
        judge(review, other_moderator, "reject")
        review.refresh_from_db()
    return reviews


@pytest.fixture
def session(settled: list[Review], moderator: User, senior: User, lead: User) -> CalibrationSession:
    return calibrations.start(
        user=lead, title="Toy weapons", people=[moderator, senior], reviews=settled
    )


def answer(client: Client, session: CalibrationSession, image: int, verdict: str) -> Any:
    given = {"categories": REASON} if verdict == "reject" else {}
    data = {"image": image, "verdict": verdict, "note": NOTE, **given}
    return client.post(f"{session.get_absolute_url()}answers/", data)


def complete(client: Client, session: CalibrationSession, verdicts: list[str]) -> str:
    for image, verdict in enumerate(verdicts, start=1):
        assert answer(client, session, image, verdict).status_code == 303
    assert client.post(f"{session.get_absolute_url()}finish/").status_code == 303
    return str(client.get(session.get_absolute_url()).content.decode())


def test_people_see_answers_of_others_only_after_finishing(
    client_of: ClientOf, session: CalibrationSession, moderator: User, senior: User, lead: User
) -> None:
    first = complete(client_of(moderator), session, ["approve", "reject"])
    blind = client_of(senior).get(session.get_absolute_url()).content.decode()
    owner = client_of(lead).get(session.get_absolute_url()).content.decode()

    assert NOTE not in blind + owner
    assert "senior</bdi></th>" not in first
    both = complete(client_of(senior), session, ["reject", "reject"])
    assert both.count("data-differs") == 1
    assert "50 %" in both
    assert both.count("no answer") == 0
    assert "Make it golden" in both


def test_answers_change_neither_reviews_nor_the_record(
    client_of: ClientOf, session: CalibrationSession, moderator: User
) -> None:
    before = list(Review.objects.order_by("pk").values())
    record = Decision.objects.count()

    complete(client_of(moderator), session, ["approve", "escalate"])

    assert list(Review.objects.order_by("pk").values()) == before
    assert Decision.objects.count() == record
    assert CalibrationAnswer.objects.count() == 2


def test_rejection_needs_a_category_and_finished_answers_stay(
    client_of: ClientOf, session: CalibrationSession, moderator: User
) -> None:
    client, address = client_of(moderator), f"{session.get_absolute_url()}answers/"

    refused = client.post(address, {"image": 1, "verdict": "reject"})
    early = client.post(f"{session.get_absolute_url()}finish/")
    complete(client, session, ["approve", "approve"])
    late = answer(client, session, 1, "reject")

    assert refused.status_code == 422
    assert "needs at least one category" in refused.content.decode()
    assert (early.status_code, late.status_code) == (409, 409)
    assert set(CalibrationAnswer.objects.values_list("verdict", flat=True)) == {"approve"}


def test_others_cannot_see_a_session_and_only_its_owner_closes_it(
    client_of: ClientOf,
    session: CalibrationSession,
    moderator: User,
    other_moderator: User,
    lead: User,
) -> None:
    address = session.get_absolute_url()

    assert client_of(other_moderator).get(address).status_code == 404
    assert client_of(moderator).post(f"{address}closure/").status_code == 409
    assert client_of(lead).post(f"{address}closure/").status_code == 303
    assert "data-differs" not in client_of(lead).get(address).content.decode()


def test_senior_starts_a_session_with_named_images_and_today_tells_participants(
    client_of: ClientOf, settled: list[Review], moderator: User, senior: User
) -> None:
    data = {
        "title": "Toys",
        "people": [moderator.pk, senior.pk],
        "source": "mixed",
        "count": 10,
        "uuids": str(settled[0].asset.uuid),
    }
    answered = client_of(senior).post(NEW, data)

    session = CalibrationSession.objects.get()
    assert answered.status_code == 303
    assert [row.review for row in session.images.all()] == settled[:1]
    assert "A calibration waits for you" in client_of(moderator).get("/").content.decode()
    assert client_of(moderator).get(NEW).status_code == 403


def test_drawn_images_are_settled_and_not_requested_by_the_people(
    settled: list[Review], make_review: MakeReview, moderator: User
) -> None:
    make_review()
    Review.objects.filter(pk=settled[0].pk).update(requested_by=moderator)

    drawn = calibrations.draw_reviews(source="mixed", count=10, people=[moderator])

    assert drawn == settled[1:]


def test_comparison_stays_within_query_limit(
    client_of: ClientOf,
    session: CalibrationSession,
    moderator: User,
    django_assert_max_num_queries: Any,
) -> None:
    client = client_of(moderator)
    complete(client, session, ["approve", "reject"])

    with django_assert_max_num_queries(13):
        client.get(session.get_absolute_url())


def test_group_kappa_equals_the_published_example() -> None:
    # Fleiss 1971, as in many textbooks: 10 subjects, 14 raters, kappa 0.210.
    counts = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]

    figure = estimate_group_kappa(counts)

    assert figure.value == pytest.approx(0.210, abs=0.001)
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < 0.210 < figure.high


def test_group_kappa_of_full_agreement_is_not_certain() -> None:
    figure = estimate_group_kappa([[2, 0], [0, 2], [2, 0], [0, 2]])

    assert (figure.value, figure.high) == (1.0, 1.0)
    assert figure.low is not None
    assert figure.low < 0.9

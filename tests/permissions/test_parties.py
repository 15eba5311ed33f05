"""Nobody decides what they are a party to: an image they asked for, a disagreement they are half
of.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from generation.models import ApiKey, Asset, GenerationRequest
from moderation.models import Decision, Review, Verdict
from moderation.services import decisions
from tests.conftest import PASSWORD
from tests.moderation.api.calls import CLEAN, classify, data_url

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], Client]
Make = Callable[..., Any]
OWN = "You requested this image, so somebody else decides it."


def start(browser: Client, slug: str = "waiting") -> str:
    """Press Start, and return where that leads."""
    return str(browser.post(reverse("moderation:claim-next", args=[slug])).headers["Location"])


def decide(browser: Client, review: Review, verdict: str = "approve", **data: Any) -> Any:
    return browser.post(
        reverse("moderation:decision-create", args=[review.uuid]), {"verdict": verdict, **data}
    )


def page_of(browser: Client, review: Review) -> str:
    return browser.get(review.get_absolute_url()).content.decode()


@pytest.fixture
def of_moderator(make_review: Make, make_request: Make, moderator: User) -> Review:
    """An image that a moderator asked for; it waits."""
    item: GenerationRequest = make_request(requested_by=moderator)
    review: Review = make_review(source="txt2img", request=item, position=0)
    return review


def test_an_image_is_not_dealt_to_who_asked_for_it(
    client_of: ClientOf,
    of_moderator: Review,
    make_review: Make,
    moderator: User,
    other_moderator: User,
) -> None:
    browser = client_of(moderator)
    answer = browser.post(reverse("moderation:claim-next", args=["waiting"]), follow=True)
    assert "Images that you requested" in answer.content.decode()

    unknown = make_review()
    Review.objects.filter(pk=of_moderator.pk).update(risk=100)
    assert start(browser).startswith(unknown.get_absolute_url())
    for address in (
        reverse("moderation:deck", args=["waiting"]),
        reverse("moderation:deck", args=["mine"]),
    ):
        assert (
            str(of_moderator.uuid)
            not in browser.post(address, {"want": "6", "held": "1"}).content.decode()
        )
    narrowed = reverse("moderation:deck", args=["waiting"]) + "?source=txt2img"
    assert "data-review" not in browser.post(narrowed, {"want": "6"}).content.decode()
    browser.post(reverse("moderation:sheet", args=["waiting"]))
    assert (
        str(of_moderator.uuid)
        not in browser.get(reverse("moderation:sheet", args=["waiting"])).content.decode()
    )

    assert start(client_of(other_moderator)).startswith(of_moderator.get_absolute_url())


def test_the_panel_says_why_and_a_verdict_is_refused(
    client_of: ClientOf, of_moderator: Review, moderator: User
) -> None:
    browser = client_of(moderator)
    page = page_of(browser, of_moderator)
    assert "You requested this image." in page
    assert 'value="approve"' not in page
    assert "Take it" not in page

    claim = browser.post(reverse("moderation:review-claim", args=[of_moderator.uuid]))
    assert (claim.status_code, OWN in claim.content.decode()) == (403, True)
    # Even where a claim was left over from before.
    Review.objects.filter(pk=of_moderator.pk).update(
        claimed_by=moderator, claimed_until="2999-01-01T00:00Z"
    )
    answer = decide(browser, of_moderator)
    assert (answer.status_code, OWN in answer.content.decode()) == (403, True)
    assert "mine" not in start(browser, "mine") or of_moderator.get_absolute_url() not in start(
        browser, "mine"
    )
    assert not Decision.objects.exists()


def test_of_many_at_once_ones_own_are_left_out(
    client_of: ClientOf, of_moderator: Review, make_review: Make, moderator: User
) -> None:
    other = make_review()
    Review.objects.update(claimed_by=moderator, claimed_until="2999-01-01T00:00Z")
    data = {
        "verdict": "approve",
        "step": "confirm",
        "batch": str(uuid4()),
        "review": [str(of_moderator.uuid), str(other.uuid)],
        "tile": [],
        "seen": [],
    }
    client_of(moderator).post(reverse("moderation:sheet-decide", args=["waiting"]), data)

    assert list(Decision.objects.values_list("review", flat=True)) == [other.pk]


def test_a_second_opinion_is_not_asked_of_who_asked_for_the_image(
    client_of: ClientOf, of_moderator: Review, moderator: User, other_moderator: User, settings: Any
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    other = client_of(other_moderator)
    start(other)
    assert decide(other, of_moderator).status_code == 303
    of_moderator.refresh_from_db()
    assert of_moderator.second_opinion == Review.SecondOpinion.WANTED

    browser = client_of(moderator)
    assert of_moderator.get_absolute_url() not in start(browser, "second-opinion")
    Review.objects.filter(pk=of_moderator.pk).update(
        claimed_by=moderator, claimed_until="2999-01-01T00:00Z"
    )
    assert decide(browser, of_moderator, "reject", categories="gambling").status_code == 403
    assert Decision.objects.count() == 1


def test_a_senior_does_not_reverse_a_decision_on_what_they_asked_for(
    client_of: ClientOf, make_review: Make, make_request: Make, senior: User, moderator: User
) -> None:
    review = make_review(source="txt2img", request=make_request(requested_by=senior), position=0)
    browser = client_of(moderator)
    start(browser)
    decide(browser, review, "reject", categories="gambling")
    decision = Decision.objects.get()

    answer = client_of(senior).post(
        reverse("moderation:decision-reverse", args=[decision.uuid]), {"note": "No."}
    )
    assert (answer.status_code, OWN in answer.content.decode()) == (403, True)
    way_back = reverse("moderation:decision-reverse", args=[decision.uuid])
    for page in (reverse("moderation:decision-list"), review.get_absolute_url()):
        assert way_back not in client_of(senior).get(page).content.decode()
    assert (
        browser.post(reverse("moderation:decision-reverse", args=[decision.uuid])).status_code
        == 303
    )


def test_a_team_of_one_may_decide_everything(
    client_of: ClientOf, of_moderator: Review, moderator: User, settings: Any
) -> None:
    settings.DECIDE_OWN_REQUESTS = True
    browser = client_of(moderator)
    assert start(browser).startswith(of_moderator.get_absolute_url())
    assert decide(browser, of_moderator).status_code == 303


def test_who_asked_is_known_of_requests_of_keys_and_of_what_was_brought(
    make_asset: Make, make_request: Make, moderator: User, senior: User
) -> None:
    key, text = ApiKey.make(name="shop", scopes=["classify"], owner=senior)
    sent = classify(text, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=true")
    wanted = {
        make_asset(
            source="txt2img", request=make_request(requested_by=moderator), position=0
        ): moderator,
        make_asset(source="txt2img", request=make_request(api_key=key), position=0): senior,
        Asset.objects.get(uuid=sent.headers["X-Loupe-Assets"]): senior,
        make_asset(stored_by_id=moderator.pk): moderator,
        make_asset(): None,
    }
    found = {asset: Review.objects.get(asset=asset).requested_by for asset in wanted}
    assert found == wanted

    Review.objects.update(requested_by=None)
    import_module("moderation.migrations.0017_requested_by").fill(apps, None)
    assert {asset: Review.objects.get(asset=asset).requested_by for asset in wanted} == wanted


def test_dealing_reads_no_row_of_the_queue_but_what_it_deals(
    client_of: ClientOf, make_review: Make, moderator: User
) -> None:
    """The index that queues are dealt from tells who asked: what is one's own is passed over in
    it.
    """
    make_review()
    browser = client_of(moderator)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        start(browser)
    deals = [
        query["sql"]
        for query in queries
        if "requested_by_id" in query["sql"] and "ORDER BY" in query["sql"]
    ]
    assert deals
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {deals[-1]}")
            plan = " ".join(str(row) for row in cursor.fetchall())
        assert "review_queue" in plan
    fields = next(index for index in Review._meta.indexes if index.name == "review_queue").fields
    assert {"requested_by", "claimed_until", "decided_at"} <= set(fields)


# --- Disagreements ---


@pytest.fixture
def other_senior(db: None) -> User:
    user = User.objects.create_user("other-senior", password=PASSWORD)
    user.groups.set(Group.objects.filter(name="senior moderator"))
    return user


@pytest.fixture
def dispute(make_review: Make, moderator: User, senior: User, settings: Any) -> Review:
    """A moderator approved it, and a senior, who had not been shown that, rejected it."""
    settings.SECOND_OPINION_PERCENT = 100
    review: Review = make_review()
    decisions.claim(review=review, user=moderator)
    decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    settings.SECOND_OPINION_PERCENT = 0
    decisions.claim(review=review, user=senior)
    decisions.decide(review=review, user=senior, verdict=Verdict.REJECT, categories=["gambling"])
    review.refresh_from_db()
    assert review.is_disputed
    return review


def test_a_senior_does_not_settle_what_they_are_half_of(
    client_of: ClientOf, dispute: Review, senior: User, other_senior: User
) -> None:
    browser = client_of(senior)
    assert dispute.get_absolute_url() not in start(browser, "escalated")
    assert (
        str(dispute.uuid)
        not in browser.post(
            reverse("moderation:deck", args=["escalated"]) + "?order=oldest", {"want": "6"}
        ).content.decode()
    )
    page = page_of(browser, dispute)
    assert "You gave one of the two opinions." in page
    assert "Another senior moderator decides it: <bdi>other-senior</bdi>." in page
    assert browser.post(reverse("moderation:review-claim", args=[dispute.uuid])).status_code == 403
    Review.objects.filter(pk=dispute.pk).update(
        claimed_by=senior, claimed_until="2999-01-01T00:00Z"
    )
    assert decide(browser, dispute).status_code == 403
    Review.objects.filter(pk=dispute.pk).update(claimed_by=None, claimed_until=None)

    other = client_of(other_senior)
    assert start(other, "escalated").startswith(dispute.get_absolute_url())
    assert decide(other, dispute).status_code == 303
    dispute.refresh_from_db()
    assert dispute.status == Review.Status.APPROVED


def test_nor_by_taking_the_other_opinion_back(
    client_of: ClientOf, dispute: Review, senior: User
) -> None:
    first, second = Decision.objects.order_by("sequence")
    browser = client_of(senior)

    answer = browser.post(
        reverse("moderation:decision-reverse", args=[first.uuid]), {"note": "Wrong."}
    )
    assert answer.status_code == 403
    assert "another senior moderator decides it" in answer.content.decode()
    # To yield is another matter.
    assert (
        browser.post(reverse("moderation:decision-reverse", args=[second.uuid])).status_code == 303
    )
    dispute.refresh_from_db()
    assert dispute.status == Review.Status.APPROVED


def test_a_senior_who_was_first_cannot_drop_the_second_opinion_later(
    client_of: ClientOf, make_review: Make, moderator: User, senior: User, settings: Any
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    review = make_review()
    for user, verdict in ((senior, Verdict.APPROVE), (moderator, Verdict.REJECT)):
        decisions.claim(review=review, user=user)
        given = {"categories": ["gambling"]} if verdict == Verdict.REJECT else {}
        decisions.decide(review=review, user=user, verdict=verdict, **given)
    first = Decision.objects.order_by("sequence").first()
    assert first is not None
    way_back = reverse("moderation:decision-reverse", args=[first.uuid])

    with pytest.MonkeyPatch.context() as later:
        later.setattr(decisions, "UNDO_WINDOW", timedelta(0))
        answer = client_of(senior).post(way_back)
        assert answer.status_code == 403
        assert "Another person decided this image differently" in answer.content.decode()
    assert client_of(senior).post(way_back).status_code == 303  # an undo


def test_without_another_senior_the_page_says_who_could_help(
    client_of: ClientOf, dispute: Review, senior: User
) -> None:
    assert "An administrator can make somebody a senior moderator." in page_of(
        client_of(senior), dispute
    )


def test_an_escalation_is_no_disagreement(
    client_of: ClientOf, make_review: Make, senior: User
) -> None:
    review = make_review()
    browser = client_of(senior)
    start(browser)
    assert decide(browser, review, "escalate", note="Look twice.").status_code == 303
    assert start(browser, "escalated").startswith(review.get_absolute_url())
    assert decide(browser, review).status_code == 303

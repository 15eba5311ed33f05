"""Conflicts of interest: deciding one's own image or one's own disagreement is refused."""

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
Factory = Callable[..., Any]
OWN = "You requested this image, so somebody else decides it."


def start_queue(browser: Client, slug: str = "waiting") -> str:
    """Press Start and return the redirect URL."""
    return str(browser.post(reverse("moderation:claim-next", args=[slug])).headers["Location"])


def decide(browser: Client, review: Review, verdict: str = "approve", **data: Any) -> Any:
    return browser.post(
        reverse("moderation:decision-create", args=[review.uuid]), {"verdict": verdict, **data}
    )


def fetch_page(browser: Client, review: Review) -> str:
    return browser.get(review.get_absolute_url()).content.decode()


@pytest.fixture
def moderators_review(make_review: Factory, make_request: Factory, moderator: User) -> Review:
    """Create a waiting review of an image that the moderator requested."""
    item: GenerationRequest = make_request(requested_by=moderator)
    review: Review = make_review(source="txt2img", request=item, position=0)
    return review


def test_requester_does_not_get_own_image_to_review(
    client_of: ClientOf,
    moderators_review: Review,
    make_review: Factory,
    moderator: User,
    other_moderator: User,
) -> None:
    browser = client_of(moderator)
    answer = browser.post(reverse("moderation:claim-next", args=["waiting"]), follow=True)
    assert "Images that you requested" in answer.content.decode()

    unknown = make_review()
    Review.objects.filter(pk=moderators_review.pk).update(risk=100)
    assert start_queue(browser).startswith(unknown.get_absolute_url())
    for address in (
        reverse("moderation:deck", args=["waiting"]),
        reverse("moderation:deck", args=["mine"]),
    ):
        assert (
            str(moderators_review.uuid)
            not in browser.post(address, {"want": "6", "held": "1"}).content.decode()
        )
    narrowed = reverse("moderation:deck", args=["waiting"]) + "?source=txt2img"
    assert "data-review" not in browser.post(narrowed, {"want": "6"}).content.decode()
    browser.post(reverse("moderation:sheet", args=["waiting"]))
    assert (
        str(moderators_review.uuid)
        not in browser.get(reverse("moderation:sheet", args=["waiting"])).content.decode()
    )

    assert start_queue(client_of(other_moderator)).startswith(moderators_review.get_absolute_url())


def test_decision_on_own_image_returns_403_with_reason(
    client_of: ClientOf, moderators_review: Review, moderator: User
) -> None:
    browser = client_of(moderator)
    page = fetch_page(browser, moderators_review)
    assert "You requested this image." in page
    assert 'value="approve"' not in page
    assert "Take it" not in page

    claim = browser.post(reverse("moderation:review-claim", args=[moderators_review.uuid]))
    assert (claim.status_code, OWN in claim.content.decode()) == (403, True)
    # A decision is refused even with an existing claim.
    Review.objects.filter(pk=moderators_review.pk).update(
        claimed_by=moderator, claimed_until="2999-01-01T00:00Z"
    )
    answer = decide(browser, moderators_review)
    assert (answer.status_code, OWN in answer.content.decode()) == (403, True)
    assert "mine" not in start_queue(
        browser, "mine"
    ) or moderators_review.get_absolute_url() not in start_queue(browser, "mine")
    assert not Decision.objects.exists()


def test_batch_leaves_out_own_image(
    client_of: ClientOf, moderators_review: Review, make_review: Factory, moderator: User
) -> None:
    other = make_review()
    Review.objects.update(claimed_by=moderator, claimed_until="2999-01-01T00:00Z")
    data = {
        "verdict": "approve",
        "step": "confirm",
        "batch": str(uuid4()),
        "review": [str(moderators_review.uuid), str(other.uuid)],
        "tile": [],
        "seen": [],
    }
    client_of(moderator).post(reverse("moderation:sheet-decide", args=["waiting"]), data)

    assert list(Decision.objects.values_list("review", flat=True)) == [other.pk]


def test_requester_does_not_get_own_image_for_second_opinion(
    client_of: ClientOf,
    moderators_review: Review,
    moderator: User,
    other_moderator: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    other = client_of(other_moderator)
    start_queue(other)
    assert decide(other, moderators_review).status_code == 303
    moderators_review.refresh_from_db()
    assert moderators_review.second_opinion == Review.SecondOpinion.WANTED

    browser = client_of(moderator)
    assert moderators_review.get_absolute_url() not in start_queue(browser, "second-opinion")
    Review.objects.filter(pk=moderators_review.pk).update(
        claimed_by=moderator, claimed_until="2999-01-01T00:00Z"
    )
    assert decide(browser, moderators_review, "reject", categories="gambling").status_code == 403
    assert Decision.objects.count() == 1


def test_reversal_of_decision_on_own_image_returns_403(
    client_of: ClientOf, make_review: Factory, make_request: Factory, senior: User, moderator: User
) -> None:
    review = make_review(source="txt2img", request=make_request(requested_by=senior), position=0)
    browser = client_of(moderator)
    start_queue(browser)
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


def test_own_image_can_be_decided_with_decide_own_requests(
    client_of: ClientOf, moderators_review: Review, moderator: User, settings: Any
) -> None:
    settings.DECIDE_OWN_REQUESTS = True
    browser = client_of(moderator)
    assert start_queue(browser).startswith(moderators_review.get_absolute_url())
    assert decide(browser, moderators_review).status_code == 303


def test_requester_is_stored_for_requests_api_images_and_imports(
    make_asset: Factory, make_request: Factory, moderator: User, senior: User
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


def test_claiming_filters_own_images_within_the_queue_index(
    client_of: ClientOf, make_review: Factory, moderator: User
) -> None:
    """The index contains the requester, so skipping one's own images reads no table rows."""
    make_review()
    browser = client_of(moderator)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        start_queue(browser)
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
def dispute(make_review: Factory, moderator: User, senior: User, settings: Any) -> Review:
    """Create a disagreement: the moderator approved, and the senior rejected without knowing."""
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


def test_senior_in_disagreement_cannot_settle_it(
    client_of: ClientOf, dispute: Review, senior: User, other_senior: User
) -> None:
    browser = client_of(senior)
    assert dispute.get_absolute_url() not in start_queue(browser, "escalated")
    assert (
        str(dispute.uuid)
        not in browser.post(
            reverse("moderation:deck", args=["escalated"]) + "?order=oldest", {"want": "6"}
        ).content.decode()
    )
    page = fetch_page(browser, dispute)
    assert "You gave one of the two opinions." in page
    assert "Another senior moderator decides it: <bdi>other-senior</bdi>." in page
    assert browser.post(reverse("moderation:review-claim", args=[dispute.uuid])).status_code == 403
    Review.objects.filter(pk=dispute.pk).update(
        claimed_by=senior, claimed_until="2999-01-01T00:00Z"
    )
    assert decide(browser, dispute).status_code == 403
    Review.objects.filter(pk=dispute.pk).update(claimed_by=None, claimed_until=None)

    other = client_of(other_senior)
    assert start_queue(other, "escalated").startswith(dispute.get_absolute_url())
    assert decide(other, dispute).status_code == 303
    dispute.refresh_from_db()
    assert dispute.status == Review.Status.APPROVED


def test_senior_in_disagreement_cannot_reverse_the_other_opinion(
    client_of: ClientOf, dispute: Review, senior: User
) -> None:
    first, second = Decision.objects.order_by("sequence")
    browser = client_of(senior)

    answer = browser.post(
        reverse("moderation:decision-reverse", args=[first.uuid]), {"note": "Wrong."}
    )
    assert answer.status_code == 403
    assert "another senior moderator decides it" in answer.content.decode()
    # A senior may reverse their own opinion.
    assert (
        browser.post(reverse("moderation:decision-reverse", args=[second.uuid])).status_code == 303
    )
    dispute.refresh_from_db()
    assert dispute.status == Review.Status.APPROVED


def test_first_senior_cannot_reverse_disagreement_after_undo_window(
    client_of: ClientOf, make_review: Factory, moderator: User, senior: User, settings: Any
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
    assert client_of(senior).post(way_back).status_code == 303  # within the undo window


def test_page_names_operator_if_no_other_senior_exists(
    client_of: ClientOf, dispute: Review, senior: User
) -> None:
    assert "an operator can make another person a senior moderator" in fetch_page(
        client_of(senior), dispute
    )


def test_senior_can_decide_own_escalation(
    client_of: ClientOf, make_review: Factory, senior: User
) -> None:
    review = make_review()
    browser = client_of(senior)
    start_queue(browser)
    assert decide(browser, review, "escalate", note="Look twice.").status_code == 303
    assert start_queue(browser, "escalated").startswith(review.get_absolute_url())
    assert decide(browser, review).status_code == 303

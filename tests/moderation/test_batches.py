"""Batches of decisions on the contact sheet: preview, confirmation and conflicts."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone

from moderation.models import Decision, Exposure, Review, Verdict
from moderation.models.decisions import status_after
from moderation.services import batches, decisions
from tests.moderation.contact_sheet_helpers import (
    claim_sheet,
    confirm_decision,
    decide,
    fetch_sheet,
    preview_decision,
    read_field_values,
)
from tests.moderation.page_helpers import HTMX, ClientOf, MakeReview, add_label, make_claimed_review
from tests.moderation.record_helpers import verify_chain

ADDRESS = "/queues/waiting/sheet/"


def statuses(reviews: list[Review]) -> list[str]:
    return [Review.objects.get(pk=review.pk).status for review in reviews]


def is_record_consistent() -> bool:
    """Return whether the chain is valid and replayed decisions give every review's status."""
    explained = all(
        review.status == status_after(Decision.objects.list_effective(review))
        for review in Review.objects.all()
    )
    return explained and verify_chain(Decision.objects.order_by("sequence")) == []


# --- Preview ---


def test_preview_shows_count_and_decides_nothing(browser: Client, three: list[Review]) -> None:
    response = preview_decision(browser, three[:2], "reject", categories=["violence.weapons"])

    text = response.content.decode()
    assert response.status_code == 200
    assert 'Reject <span class="num">2</span> images?' in text
    assert "As <strong>Weapons</strong>." in text
    assert set(read_field_values(text, "review")) == {str(one.uuid) for one in three[:2]}
    assert Decision.objects.count() == 0


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("verdict", "data", "status"),
    [
        ("approve", {}, "approved"),
        ("reject", {"categories": ["violence.weapons", "gambling"]}, "rejected"),
        ("escalate", {"note": "Is this one person?"}, "escalated"),
    ],
)
def test_confirmation_decides_only_previewed_images(
    browser: Client,
    three: list[Review],
    moderator: User,
    verdict: str,
    data: dict[str, Any],
    status: str,
    htmx: bool,
) -> None:
    response = confirm_decision(
        browser, preview_decision(browser, three[:2], verdict, **data), htmx=htmx, **data
    )

    made = list(Decision.objects.all())
    assert statuses(three) == [status, status, "pending"]
    assert {decision.categories == sorted(data.get("categories", [])) for decision in made} == {
        True
    }
    assert {(one.verdict, one.reviewer, one.note) for one in made} == {
        (verdict, moderator, data.get("note", ""))
    }
    assert len({decision.batch for decision in made}) == 1
    assert Exposure.objects.get(user=moderator).images == 2
    if htmx:
        assert (response.status_code, response["HX-Retarget"]) == (200, "#sheet")
        assert f"batch={made[0].batch}" in response["HX-Replace-Url"]
        text = response.content.decode()
    else:
        assert (response.status_code, response["Location"]) == (
            303,
            f"{ADDRESS}?batch={made[0].batch}",
        )
        text = fetch_sheet(browser, response["Location"])
    assert "Undo all 2" in text
    assert read_field_values(text, "tile") == [str(three[2].uuid)]
    assert is_record_consistent()


def test_approving_the_rest_leaves_out_selected_images(
    browser: Client, three: list[Review]
) -> None:
    shown = [str(one.uuid) for one in three]
    data = {"rest": "approve", "tile": shown[:1], "shown": shown}

    confirm_decision(browser, browser.post(f"{ADDRESS}decisions/", data))

    assert statuses(three) == ["pending", "approved", "approved"]


def test_image_claimed_after_display_is_not_approved(
    browser: Client, three: list[Review], make_review: MakeReview, moderator: User
) -> None:
    """The image was claimed in another window, so it was not shown on this sheet."""
    late = make_claimed_review(make_review, moderator)
    shown = [str(one.uuid) for one in three]

    response = browser.post(f"{ADDRESS}decisions/", {"rest": "approve", "shown": shown})

    assert str(late.uuid) not in read_field_values(response.content.decode(), "review")
    alone = browser.post(
        f"{ADDRESS}decisions/", {"verdict": "approve", "tile": [str(late.uuid)], "shown": shown}
    )
    assert alone.status_code == 422


def test_claimed_image_outside_filters_is_not_decided(
    browser: Client,
    three: list[Review],
    make_review: MakeReview,
    client_of: ClientOf,
    moderator: User,
) -> None:
    add_label(three[0], "alcohol.use")
    address = f"{ADDRESS}decisions/?category=alcohol"

    browser.post(
        address,
        {"step": "confirm", "verdict": "approve", "review": [str(one.uuid) for one in three]},
    )

    assert statuses(three) == ["approved", "pending", "pending"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"verdict": "approve", "tile": []}, "Select at least one image."),
        ({"verdict": "reject"}, "needs at least one category"),
        ({"verdict": "reject", "categories": ["violence"]}, "is not a category"),
        ({"verdict": "reopen"}, "Choose approve, reject or escalate."),
        ({"rest": "explode"}, "Choose approve, reject or escalate."),
    ],
)
@pytest.mark.parametrize("htmx", [False, True])
def test_invalid_batch_returns_422_and_keeps_selection(
    browser: Client, three: list[Review], data: dict[str, Any], sentence: str, htmx: bool
) -> None:
    shown = [str(one.uuid) for one in three]
    sent = {"tile": shown[:2], "shown": shown, **data}

    response = browser.post(f"{ADDRESS}decisions/", sent, headers=HTMX if htmx else {})

    text = response.content.decode()
    assert response.status_code == 422
    assert sentence in text
    assert htmx == (response.get("HX-Retarget") == "#act")
    if not htmx:
        assert len(re.findall(r'name="tile"[^>]* checked', text)) == len(sent["tile"])


def test_batch_escalation_without_reason_returns_422_and_keeps_preview(
    browser: Client, three: list[Review]
) -> None:
    previewed = preview_decision(browser, three[:2], "escalate")

    refused = confirm_decision(browser, previewed, note="  ")

    assert "required autofocus" in previewed.content.decode()
    assert refused.status_code == 422
    assert "Give a reason for the senior moderator." in refused.content.decode()
    assert set(read_field_values(refused.content.decode(), "review")) == {
        str(one.uuid) for one in three[:2]
    }
    assert statuses(three) == ["pending"] * 3
    confirm_decision(browser, refused, note="Same face in both")
    assert statuses(three) == ["escalated", "escalated", "pending"]


def test_going_back_keeps_selection_and_categories(browser: Client, three: list[Review]) -> None:
    previewed = preview_decision(browser, three[:2], "reject", categories=["gambling"])

    back = confirm_decision(browser, previewed, step="back")

    text = back.content.decode()
    assert len(re.findall(r'name="tile"[^>]* checked', text)) == 2
    assert 'value="gambling" data-hotkey="g" data-label="Gambling" checked' in text
    assert Decision.objects.count() == 0


def test_escalated_sheet_goes_to_the_lead_whose_escalation_returns_409(
    client_of: ClientOf, make_review: MakeReview, senior: User, lead: User
) -> None:
    review = make_claimed_review(make_review, senior)
    decisions.decide(review=review, user=senior, verdict=Verdict.ESCALATE)
    client = client_of(senior)
    claim_sheet(client, "/queues/escalated/sheet/")
    decide(client, [review], "escalate", slug="escalated", note="again")
    client = client_of(lead)
    claim_sheet(client, "/queues/lead/sheet/")

    assert "already with the policy leads" in fetch_sheet(client, "/queues/lead/sheet/")
    refused = decide(client, [review], "escalate", slug="lead", note="again")
    assert refused.status_code == 409
    decide(client, [review], slug="lead")
    assert statuses([review]) == ["approved"]


# --- Changes between preview and confirmation ---


def test_images_changed_after_preview_are_left_out_and_named(
    browser: Client, three: list[Review], client_of: ClientOf, other_moderator: User
) -> None:
    previewed = preview_decision(browser, three)
    Review.objects.filter(pk=three[0].pk).update(
        claimed_until=timezone.now() - timedelta(seconds=1)
    )
    Review.objects.filter(pk=three[1].pk).update(claimed_by=None, claimed_until=None)
    decisions.claim(review=three[1], user=other_moderator)
    decisions.decide(
        review=three[1], user=other_moderator, verdict=Verdict.REJECT, categories=["gambling"]
    )

    response = confirm_decision(browser, previewed, htmx=True)

    text = response.content.decode()
    assert response.status_code == 200
    assert statuses(three) == ["pending", "rejected", "approved"]
    assert "Approved 1 image." in text
    assert f"2 left out. {three[0].asset.short_id}: Your claim on this review has expired." in text
    assert f"{three[1].asset.short_id}: Already rejected (Gambling) by other at" in text
    assert Decision.objects.count() == 2


def test_batch_without_remaining_images_returns_409(browser: Client, three: list[Review]) -> None:
    previewed = preview_decision(browser, three[:1])
    Review.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))

    response = confirm_decision(browser, previewed)

    assert response.status_code == 409
    assert "1 left out." in response.content.decode()
    again = browser.post(
        f"{ADDRESS}decisions/",
        {"verdict": "approve", "tile": [str(three[0].uuid)], "shown": [str(three[0].uuid)]},
    )
    assert again.status_code == 422
    assert f"you no longer hold them: {three[0].asset.short_id}" in again.content.decode()


def test_repeated_confirmation_decides_once(
    browser: Client, three: list[Review], moderator: User
) -> None:
    previewed = preview_decision(browser, three)

    first, second = confirm_decision(browser, previewed), confirm_decision(browser, previewed)

    assert first["Location"] == second["Location"]
    assert Decision.objects.count() == 3
    assert Exposure.objects.get(user=moderator).images == 3


def test_batch_id_of_another_person_returns_422(
    browser: Client,
    three: list[Review],
    client_of: ClientOf,
    other_moderator: User,
    make_review: MakeReview,
) -> None:
    previewed = preview_decision(browser, three)
    batch = read_field_values(previewed.content.decode(), "batch")[0]
    confirm_decision(browser, previewed)
    mine, client = make_claimed_review(make_review, other_moderator), client_of(other_moderator)

    response = confirm_decision(client, preview_decision(client, [mine]), batch=batch)

    assert response.status_code == 422
    assert statuses([mine]) == ["pending"]


@pytest.mark.django_db(transaction=True)
def test_concurrent_identical_confirmations_decide_once(
    make_review: MakeReview, moderator: User
) -> None:
    reviews, name, outcomes, faults = (
        [make_claimed_review(make_review, moderator) for _ in range(6)],
        uuid4(),
        [],
        [],
    )
    start = threading.Barrier(2)

    def work() -> None:
        try:
            start.wait()
            outcomes.append(
                batches.decide_many(
                    reviews=reviews, user=moderator, verdict=Verdict.APPROVE, batch=name
                )
            )
        except Exception as fault:
            faults.append(fault)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert [len(outcome.done) for outcome in outcomes] == [6, 6]
    assert Decision.objects.count() == 6
    assert is_record_consistent()


def test_batch_above_limit_returns_422_and_decides_nothing(
    browser: Client, three: list[Review], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    previewed = preview_decision(browser, three)
    monkeypatch.setattr(batches, "LIMIT", 2)

    response = confirm_decision(browser, previewed)

    assert response.status_code == 422
    assert "At most 2 images can be decided in one batch." in response.content.decode()
    assert Decision.objects.count() == 0


def test_batch_without_permission_raises_error(make_review: MakeReview, auditor: User) -> None:
    with pytest.raises(decisions.NotPermittedError):
        batches.decide_many(reviews=[make_review()], user=auditor, verdict=Verdict.APPROVE)


def test_second_opinions_can_be_given_on_a_contact_sheet(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    reviews = [make_claimed_review(make_review, other_moderator) for _ in range(2)]
    for review in reviews:
        decisions.decide(review=review, user=other_moderator, verdict=Verdict.APPROVE)
    client = client_of(moderator)
    claim_sheet(client, "/queues/second-opinion/sheet/")

    decide(client, reviews, "reject", slug="second-opinion", categories=["gambling"])

    assert statuses(reviews) == ["escalated", "escalated"]
    assert is_record_consistent()

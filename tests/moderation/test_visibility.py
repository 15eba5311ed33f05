"""The first opinion is hidden on every page from the person who gives the second one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from generation import imaging
from generation.models import GenerationRequest, Source
from generation.services.storing import Origin, store_rendition
from moderation.models import Review
from tests.conftest import picture
from tests.moderation.page_helpers import (
    HTMX,
    ClientOf,
    MakeReview,
    decide,
    get_review_url,
    start_queue,
)
from tests.moderation.second_opinion_helpers import NOTE, judge

FIRST_OPINION_WORDS = ("Rejected", "rejected", "Weapons by", NOTE, "by moderator", "Approved by")


@pytest.fixture(autouse=True)
def _draw_all_decisions(settings: Any) -> None:
    settings.SECOND_OPINION_PERCENT = 100


@pytest.fixture
def generation_request(make_request: Callable[..., GenerationRequest]) -> GenerationRequest:
    return make_request(image_num=2)


@pytest.fixture
def rejected_pair(
    make_review: MakeReview, generation_request: GenerationRequest, moderator: User
) -> list[Review]:
    """Create two images of one request, both rejected by the moderator."""
    found = [
        make_review(source=Source.TXT2IMG, request=generation_request, position=number)
        for number in range(2)
    ]
    for review in found:
        judge(review, moderator, "reject", NOTE)
    return found


def extract_panel(text: str) -> str:
    """Return the panel without action bar, sidebar and category chooser.

    The sidebar counts one's own verdicts, and the chooser names all categories.
    """
    text = text.split('id="panel"')[1].split('id="deck"')[0].split('id="sidebar"')[0]
    before, _, after = text.partition('id="chooser"')
    return before + after.partition("</details>\n")[2]


def assert_first_opinion_hidden(text: str) -> None:
    assert [word for word in FIRST_OPINION_WORDS if word in text] == []


def test_panel_and_filmstrip_hide_first_opinion(
    client_of: ClientOf, rejected_pair: list[Review], other_moderator: User
) -> None:
    client = client_of(other_moderator)

    address = start_queue(client, "second-opinion")["Location"]
    panel = extract_panel(client.get(address).content.decode())

    assert address == get_review_url(rejected_pair[0], "second-opinion")
    assert_first_opinion_hidden(panel)
    assert "Second opinion" in panel
    # The filmstrip shows the image and its sibling, which both want a second opinion.
    assert panel.count('data-status="hidden"') == 2
    assert 'data-status="rejected"' not in panel


def test_sibling_is_hidden_without_second_opinion_of_its_own(
    client_of: ClientOf, rejected_pair: list[Review], other_moderator: User
) -> None:
    """The status of another image with the same prompt hints at the first opinion."""
    Review.objects.filter(pk=rejected_pair[1].pk).update(second_opinion="")
    client = client_of(other_moderator)

    panel = extract_panel(
        client.get(start_queue(client, "second-opinion")["Location"]).content.decode()
    )

    assert panel.count('data-status="hidden"') == 2


def test_pending_sibling_is_shown_as_due(
    client_of: ClientOf,
    make_review: MakeReview,
    generation_request: GenerationRequest,
    moderator: User,
    other_moderator: User,
) -> None:
    first = make_review(source=Source.TXT2IMG, request=generation_request, position=0)
    make_review(source=Source.TXT2IMG, request=generation_request, position=1)
    judge(first, moderator, "reject")
    client = client_of(other_moderator)

    panel = extract_panel(
        client.get(start_queue(client, "second-opinion")["Location"]).content.decode()
    )

    assert panel.count('data-status="hidden"') == 1
    assert ">Due<" in panel


def test_deck_panels_hide_first_opinion(
    client_of: ClientOf, rejected_pair: list[Review], other_moderator: User
) -> None:
    client = client_of(other_moderator)
    deck = reverse("moderation:deck", args=["second-opinion"])

    text = client.post(deck, {"deck": "1", "want": "4"}).content.decode()

    assert text.count('id="panel"') == 2
    for part in text.split('id="panel"')[1:]:
        assert_first_opinion_hidden(extract_panel('id="panel"' + part))


def test_similar_images_hide_first_opinion(
    client_of: ClientOf, moderator: User, other_moderator: User, settings: Any, db: None
) -> None:
    settings.CLASSIFIERS = []
    reviews = []
    for image_format in ("PNG", "WEBP"):
        rendition = imaging.render(picture(5, size=(512, 384), image_format=image_format))
        reviews.append(
            store_rendition(rendition=rendition, origin=Origin(source=Source.UPLOAD)).review
        )
    judge(reviews[0], moderator, "reject")
    judge(reviews[1], moderator, "reject")
    client = client_of(other_moderator)

    panel = extract_panel(
        client.get(start_queue(client, "second-opinion")["Location"]).content.decode()
    )

    assert "Similar images" in panel
    assert_first_opinion_hidden(panel)
    assert 'data-status="rejected"' not in panel
    assert 'data-status="rejected"' in extract_panel(
        client_of(moderator).get(get_review_url(reviews[0])).content.decode()
    )


def test_other_pages_hide_first_opinion_while_claimed(
    client_of: ClientOf,
    rejected_pair: list[Review],
    generation_request: GenerationRequest,
    other_moderator: User,
) -> None:
    client = client_of(other_moderator)
    start_queue(client, "second-opinion")
    held = rejected_pair[0]

    plain = extract_panel(client.get(get_review_url(held)).content.decode())
    record = client.get("/decisions/").content.decode()
    images = client.get(generation_request.get_absolute_url()).content.decode()
    sibling = extract_panel(client.get(get_review_url(rejected_pair[1])).content.decode())

    assert_first_opinion_hidden(plain)
    assert held.asset.short_id not in record
    assert rejected_pair[1].asset.short_id in record
    assert "hidden: you hold" in record
    assert images.count('data-status="hidden"') == 1
    # The sibling is not claimed, so its own page shows its status, but not that of the claimed one.
    assert sibling.count('data-status="hidden"') == 1


def test_first_opinion_is_visible_after_the_decision(
    client_of: ClientOf, rejected_pair: list[Review], other_moderator: User
) -> None:
    client = client_of(other_moderator)
    start_queue(client, "second-opinion")
    decide(client, rejected_pair[0], "approve")

    assert rejected_pair[0].asset.short_id in client.get("/decisions/").content.decode()
    assert NOTE in client.get(get_review_url(rejected_pair[0])).content.decode()


def test_people_not_asked_see_first_opinion(
    client_of: ClientOf, rejected_pair: list[Review], moderator: User, auditor: User
) -> None:
    for person in (moderator, auditor):
        assert NOTE in client_of(person).get(get_review_url(rejected_pair[0])).content.decode()


def test_refused_claim_hides_first_opinion(
    client_of: ClientOf, rejected_pair: list[Review], other_moderator: User, senior: User
) -> None:
    """The message names the person with the claim, but not the first decision."""
    start_queue(client_of(senior), "second-opinion")
    client: Client = client_of(other_moderator)

    taken = client.post(
        reverse("moderation:review-claim", args=[rejected_pair[0].uuid]),
        {"queue": "second-opinion"},
        headers=HTMX,
    )

    assert taken.status_code == 409
    assert "senior has taken this review" in taken.content.decode()
    assert_first_opinion_hidden(extract_panel(taken.content.decode()))


def test_search_by_outcome_leaves_out_claimed_image(
    client_of: ClientOf, rejected_pair: list[Review], other_moderator: User, moderator: User
) -> None:
    client = client_of(other_moderator)
    start_queue(client, "second-opinion")
    held, free = rejected_pair

    for asked in ("status=rejected", "named=violence.weapons", "q=harbour&status=rejected"):
        found = client.get(f"/search/?{asked}").content.decode()
        assert free.asset.short_id in found
        assert held.asset.short_id not in found
        assert held.asset.short_id in client_of(moderator).get(f"/search/?{asked}").content.decode()
    plain = client.get("/search/?q=harbour").content.decode()
    result = plain.split(held.get_absolute_url())[1].split("</li>")[0]
    assert "Rejected" not in result

"""Whoever gives a second opinion is told nowhere what the first one was: on its page, beside it, or
elsewhere.
"""

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
from tests.moderation.page_helpers import HTMX, As, Make, decide, page_of, start
from tests.moderation.second_opinion_helpers import NOTE, judge

TELLING = ("Rejected", "rejected", "Weapons by", NOTE, "by moderator", "Approved by")


@pytest.fixture(autouse=True)
def _all_are_drawn(settings: Any) -> None:
    settings.SECOND_OPINION_PERCENT = 100


@pytest.fixture
def order(make_request: Callable[..., GenerationRequest]) -> GenerationRequest:
    return make_request(image_num=2)


@pytest.fixture
def pair(make_review: Make, order: GenerationRequest, moderator: User) -> list[Review]:
    """Two images of one request, both rejected by the moderator."""
    found = [
        make_review(source=Source.TXT2IMG, request=order, position=number) for number in range(2)
    ]
    for review in found:
        judge(review, moderator, "reject", NOTE)
    return found


def panel_of(text: str) -> str:
    """Without the bar, the rail (which counts one's own verdicts) and the chooser (which names all
    categories).
    """
    text = text.split('id="panel"')[1].split('id="deck"')[0].split('id="rail"')[0]
    before, _, after = text.partition('id="chooser"')
    return before + after.partition("</details>\n")[2]


def assert_blind(text: str) -> None:
    assert [word for word in TELLING if word in text] == []


def test_neither_panel_nor_strip_tells(
    client_of: As, pair: list[Review], other_moderator: User
) -> None:
    client = client_of(other_moderator)

    address = start(client, "second-opinion")["Location"]
    panel = panel_of(client.get(address).content.decode())

    assert address == page_of(pair[0], "second-opinion")
    assert_blind(panel)
    assert "Second opinion" in panel
    # The strip: the image itself and its sibling, which waits for the same person.
    assert panel.count('data-status="hidden"') == 2
    assert 'data-status="rejected"' not in panel


def test_the_sibling_is_hidden_even_when_nobody_is_asked_about_it(
    client_of: As, pair: list[Review], other_moderator: User
) -> None:
    """What became of the same prompt's other image tells nearly as much."""
    Review.objects.filter(pk=pair[1].pk).update(second_opinion="")
    client = client_of(other_moderator)

    panel = panel_of(client.get(start(client, "second-opinion")["Location"]).content.decode())

    assert panel.count('data-status="hidden"') == 2


def test_a_pending_sibling_is_shown_as_it_is(
    client_of: As,
    make_review: Make,
    order: GenerationRequest,
    moderator: User,
    other_moderator: User,
) -> None:
    first = make_review(source=Source.TXT2IMG, request=order, position=0)
    make_review(source=Source.TXT2IMG, request=order, position=1)
    judge(first, moderator, "reject")
    client = client_of(other_moderator)

    panel = panel_of(client.get(start(client, "second-opinion")["Location"]).content.decode())

    assert panel.count('data-status="hidden"') == 1
    assert ">Due<" in panel


def test_the_panels_sent_ahead_do_not_tell(
    client_of: As, pair: list[Review], other_moderator: User
) -> None:
    client = client_of(other_moderator)
    deck = reverse("moderation:deck", args=["second-opinion"])

    text = client.post(deck, {"deck": "1", "want": "4"}).content.decode()

    assert text.count('id="panel"') == 2
    for part in text.split('id="panel"')[1:]:
        assert_blind(panel_of('id="panel"' + part))


def test_similar_images_do_not_tell(
    client_of: As, moderator: User, other_moderator: User, settings: Any, db: None
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

    panel = panel_of(client.get(start(client, "second-opinion")["Location"]).content.decode())

    assert "Similar images" in panel
    assert_blind(panel)
    assert 'data-status="rejected"' not in panel
    assert 'data-status="rejected"' in panel_of(
        client_of(moderator).get(page_of(reviews[0])).content.decode()
    )


def test_while_it_is_held_no_other_page_tells(
    client_of: As, pair: list[Review], order: GenerationRequest, other_moderator: User
) -> None:
    client = client_of(other_moderator)
    start(client, "second-opinion")
    held = pair[0]

    plain = panel_of(client.get(page_of(held)).content.decode())
    record = client.get("/decisions/").content.decode()
    images = client.get(order.get_absolute_url()).content.decode()
    sibling = panel_of(client.get(page_of(pair[1])).content.decode())

    assert_blind(plain)
    assert held.asset.short_id not in record
    assert pair[1].asset.short_id in record
    assert "hidden: you hold" in record
    assert images.count('data-status="hidden"') == 1
    # The sibling is not held, so its own page tells; its strip does not tell about the held one.
    assert sibling.count('data-status="hidden"') == 1


def test_afterwards_the_record_is_whole_again(
    client_of: As, pair: list[Review], other_moderator: User
) -> None:
    client = client_of(other_moderator)
    start(client, "second-opinion")
    decide(client, pair[0], "approve")

    assert pair[0].asset.short_id in client.get("/decisions/").content.decode()
    assert NOTE in client.get(page_of(pair[0])).content.decode()


def test_who_is_not_asked_sees_what_was_decided(
    client_of: As, pair: list[Review], moderator: User, auditor: User
) -> None:
    for person in (moderator, auditor):
        assert NOTE in client_of(person).get(page_of(pair[0])).content.decode()


def test_refusals_do_not_tell(
    client_of: As, pair: list[Review], other_moderator: User, senior: User
) -> None:
    """Somebody else has taken it for their second opinion: who, but not what was decided before."""
    start(client_of(senior), "second-opinion")
    client: Client = client_of(other_moderator)

    taken = client.post(
        reverse("moderation:review-claim", args=[pair[0].uuid]),
        {"queue": "second-opinion"},
        headers=HTMX,
    )

    assert taken.status_code == 409
    assert "senior has taken this review" in taken.content.decode()
    assert_blind(panel_of(taken.content.decode()))


def test_no_search_by_outcome_finds_what_is_held(
    client_of: As, pair: list[Review], other_moderator: User, moderator: User
) -> None:
    client = client_of(other_moderator)
    start(client, "second-opinion")
    held, free = pair

    for asked in ("status=rejected", "named=violence.weapons", "q=harbour&status=rejected"):
        found = client.get(f"/search/?{asked}").content.decode()
        assert free.asset.short_id in found
        assert held.asset.short_id not in found
        assert held.asset.short_id in client_of(moderator).get(f"/search/?{asked}").content.decode()
    plain = client.get("/search/?q=harbour").content.decode()
    result = plain.split(held.get_absolute_url())[1].split("</li>")[0]
    assert "Rejected" not in result

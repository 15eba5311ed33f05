"""Look-alikes that were released before an image was rejected, and their withdrawal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from PIL import Image

from generation.models import Asset, Source
from moderation.models import Decision, Review, Verdict
from moderation.services import batches, decisions, verification
from tests.conftest import picture
from tests.moderation.page_helpers import ClientOf, decide, get_review_url

MakeReview = Callable[..., Review]


@pytest.fixture
def store(
    make_asset: Callable[..., Asset], make_request: Callable[..., Any], settings: Any
) -> MakeReview:
    """Return a function that stores a generated image, which waits for a person."""
    settings.CLASSIFIERS = []

    def store(content: bytes, **fields: Any) -> Review:
        request = make_request(**fields)
        return make_asset(content, source=Source.TXT2IMG, request=request, position=0).review

    return store


def resave(quality: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture(1))).convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def judge(client_of: ClientOf, review: Review, user: User, verdict: str) -> None:
    assert review.claim_for(user)
    data = {"categories": ["violence.weapons"]} if verdict == "reject" else {}
    assert decide(client_of(user), review, verdict, **data).status_code < 400
    review.refresh_from_db()


def url(review: Review, name: str = "list") -> str:
    return reverse(f"moderation:look-alike-{name}", args=[review.uuid])


@pytest.fixture
def rejected(store: MakeReview, client_of: ClientOf, moderator: User) -> Review:
    """Return a rejected image with three released look-alikes; one of them is the same file."""
    contents = (picture(1), resave(90), resave(70), picture(2))
    for review in [store(content) for content in contents]:
        judge(client_of, review, moderator, "approve")
    waiting = store(resave(80))
    assert waiting.status == Review.Status.PENDING
    last = store(picture(1))
    judge(client_of, last, moderator, "reject")
    return last


def list_released() -> list[Review]:
    return list(Review.objects.filter(status="approved").order_by("pk"))


def test_page_and_count_name_the_released_look_alikes(
    rejected: Review, client_of: ClientOf, moderator: User, senior: User
) -> None:
    same, near, farther, other = list_released()

    line = client_of(senior).get(url(rejected, "count")).content.decode()
    page = client_of(moderator).get(url(rejected)).content.decode()

    assert re.sub("<[^>]+>", "", line).strip() == (
        f"3 look-alikes of image {rejected.asset.short_id} are already released: show, withdraw"
    )
    assert url(rejected) in line
    found = re.findall(r'name="review" value="([^"]+)"', page)
    assert found[0] == str(same.uuid)
    assert set(found) == {str(row.uuid) for row in (same, near, farther)}
    assert other.asset.short_id not in page
    assert "same file" in page
    assert (
        url(rejected, "count") in client_of(senior).get(get_review_url(rejected)).content.decode()
    )


def test_batch_of_rejections_names_its_images_with_released_look_alikes(
    rejected: Review, store: MakeReview, client_of: ClientOf, moderator: User, senior: User
) -> None:
    client = client_of(moderator)
    known, alone = store(picture(1)), store(picture(5))
    for review in (known, alone):
        assert review.claim_for(moderator)
    decided = batches.decide_many(
        reviews=[known, alone],
        user=moderator,
        verdict=Verdict.REJECT,
        categories=["violence.weapons"],
    )
    counted = reverse("moderation:batch-look-alike-count", args=[decided.batch])
    listed = reverse("moderation:batch-look-alike-list", args=[decided.batch])

    sheet = client.get(f"/queues/waiting/sheet/?batch={decided.batch}").content.decode()
    detail = reverse("moderation:batch-detail", args=[decided.batch])
    assert counted in sheet
    assert counted in client.get(detail).content.decode()
    line = client.get(counted).content.decode()
    assert re.sub("<[^>]+>", "", line).strip() == (
        "1 of these images has look-alikes that are already released: show"
    )
    assert listed in line
    page = client.get(listed).content.decode()
    assert url(known) in page
    assert url(alone) not in page

    batches.reverse_many(batch=decided.batch, user=senior, note="Wrong batch")
    assert client.get(counted).status_code == 204
    assert "No approved image" in client.get(listed).content.decode()


def test_image_without_released_look_alikes_has_no_line(
    store: MakeReview, client_of: ClientOf, moderator: User
) -> None:
    approved, refused = store(picture(3)), store(picture(4))
    judge(client_of, approved, moderator, "approve")
    judge(client_of, refused, moderator, "reject")
    client = client_of(moderator)

    assert client.get(url(refused, "count")).status_code == 204
    assert client.get(url(approved, "count")).status_code == 204
    assert "looks the same" in client.get(url(refused)).content.decode()


def test_senior_withdraws_the_chosen_ones_as_a_batch_and_undoes_it(
    rejected: Review, client_of: ClientOf, moderator: User, senior: User
) -> None:
    same, near, farther, other = list_released()
    client, batch = client_of(senior), uuid4()
    data = {"review": [same.uuid, near.uuid, other.uuid], "batch": batch, "note": "seen today"}

    answer = client.post(url(rejected, "withdraw"), data)

    assert answer.status_code == 303
    assert answer["Location"] == reverse("moderation:batch-detail", args=[batch])
    for review in (same, near):
        approval, reversal, rejection = review.decisions.order_by("sequence")
        assert (approval.reviewer, reversal.reverses, reversal.reviewer) == (
            moderator,
            approval,
            senior,
        )
        assert (rejection.verdict, rejection.categories, rejection.batch) == (
            Verdict.REJECT,
            ["violence.weapons"],
            batch,
        )
        assert f"Looks like image {rejected.asset.short_id}" in rejection.note
        assert rejection.note.endswith("seen today")
        review.refresh_from_db()
        assert review.status == Review.Status.REJECTED
    assert list_released() == [farther, other]
    assert verification.verify_record()[1] == []
    page = client.get(answer["Location"]).content.decode()
    assert f"Rejected: 2 images that looked like {rejected.asset.short_id}." in page

    # Sent again by a nervous finger: the same outcome, no further decision.
    count = Decision.objects.count()
    assert client.post(url(rejected, "withdraw"), data).status_code == 303
    assert Decision.objects.count() == count

    undone = client.post(reverse("moderation:batch-reverse", args=[batch]))
    assert undone.status_code == 303
    same.refresh_from_db()
    assert (same.status, same.claimed_by) == (Review.Status.PENDING, senior)


def test_moderator_sends_them_to_the_seniors_and_may_undo_that(
    rejected: Review, client_of: ClientOf, moderator: User, other_moderator: User
) -> None:
    same, near, *_ = list_released()
    client, batch = client_of(other_moderator), uuid4()

    answer = client.post(
        url(rejected, "withdraw"), {"review": [same.uuid, near.uuid], "batch": batch}
    )

    assert answer.status_code == 303
    for review in (same, near):
        review.refresh_from_db()
        assert (review.status, review.decided_by) == (Review.Status.ESCALATED, None)
        last = review.decisions.latest("sequence")
        assert (last.verdict, last.reviewer) == (Verdict.ESCALATE, other_moderator)
    assert verification.verify_record()[1] == []
    client.post(reverse("moderation:batch-reverse", args=[batch]))
    same.refresh_from_db()
    assert (same.status, same.decided_by) == (Review.Status.APPROVED, moderator)


def test_approval_of_the_policy_is_withdrawn_too(
    store: MakeReview, client_of: ClientOf, senior: User, settings: Any, moderator: User
) -> None:
    first, second = store(picture(1)), store(picture(1))
    Review.objects.filter(pk=first.pk).update(status="classifying")
    first.refresh_from_db()
    from moderation.models import Policy
    from moderation.policy_engine import Outcome, Settlement
    from moderation.services.classification import apply_settlement

    apply_settlement(
        review=first,
        policy=Policy.objects.active(),
        settlement=Settlement(outcome=Outcome.APPROVE, reason="Nothing found."),
    )
    judge(client_of, second, moderator, "reject")
    assert "policy version 1" in client_of(senior).get(url(second)).content.decode()

    client_of(senior).post(url(second, "withdraw"), {"review": first.uuid})

    first.refresh_from_db()
    assert first.status == Review.Status.REJECTED


def test_agreed_second_opinion_is_reversed_with_the_approval(
    store: MakeReview,
    client_of: ClientOf,
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    first = store(picture(1))
    judge(client_of, first, moderator, "approve")
    judge(client_of, first, other_moderator, "approve")
    assert first.second_opinion == Review.SecondOpinion.AGREED
    settings.SECOND_OPINION_PERCENT = 0
    second = store(picture(1))
    judge(client_of, second, moderator, "reject")

    client_of(senior).post(url(second, "withdraw"), {"review": first.uuid})

    first.refresh_from_db()
    assert (first.status, first.decided_by) == (Review.Status.REJECTED, senior)


def test_own_request_is_left_out_and_named(
    store: MakeReview, client_of: ClientOf, moderator: User, senior: User
) -> None:
    own, others = store(picture(1), requested_by=senior), store(picture(1))
    for review in (own, others):
        judge(client_of, review, moderator, "approve")
    last = store(picture(1))
    judge(client_of, last, moderator, "reject")

    answer = client_of(senior).post(
        url(last, "withdraw"), {"review": [own.uuid, others.uuid]}, follow=True
    )

    own.refresh_from_db(), others.refresh_from_db()
    assert (own.status, others.status) == (Review.Status.APPROVED, Review.Status.REJECTED)
    assert f"1 left out. {own.asset.short_id}: You requested" in answer.content.decode()
    assert [row.verdict for row in own.decisions.all()] == [Verdict.APPROVE]


def test_nothing_is_withdrawn_after_the_rejection_was_reversed(
    rejected: Review, client_of: ClientOf, moderator: User, senior: User
) -> None:
    same, *_ = list_released()
    decisions.reverse(decision=Decision.objects.get(review=rejected), user=moderator)

    answer = client_of(senior).post(url(rejected, "withdraw"), {"review": same.uuid})

    assert answer.status_code == 409
    assert "not rejected any more" in answer.content.decode()
    same.refresh_from_db()
    assert same.status == Review.Status.APPROVED


def test_empty_choice_returns_422_and_keeps_the_boxes_empty(
    rejected: Review, client_of: ClientOf, senior: User
) -> None:
    answer = client_of(senior).post(url(rejected, "withdraw"), {"note": "why"})

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Select at least one image." in page
    assert "checked" not in page.split("<tbody>")[1].split("</tbody>")[0]
    assert 'value="why"' in page


def test_auditor_sees_the_list_and_withdraws_nothing(
    rejected: Review, client_of: ClientOf, auditor: User
) -> None:
    same, *_ = list_released()
    client = client_of(auditor)

    assert 'type="checkbox"' not in client.get(url(rejected)).content.decode()
    assert client.post(url(rejected, "withdraw"), {"review": same.uuid}).status_code == 403
    assert same in list_released()


def test_images_under_the_viewers_second_opinion_are_not_shown(
    store: MakeReview, client_of: ClientOf, moderator: User, senior: User, settings: Any
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    first, second = store(picture(1)), store(picture(1))
    judge(client_of, first, moderator, "approve")
    judge(client_of, second, moderator, "reject")
    assert str(first.uuid) in client_of(senior).get(url(second)).content.decode()

    assert first.claim_for(senior)
    assert str(first.uuid) not in client_of(senior).get(url(second)).content.decode()
    assert second.claim_for(senior)
    assert client_of(senior).get(url(second)).status_code == 403

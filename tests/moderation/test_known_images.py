"""Images whose hashes are known: rejected stays rejected, look-alikes go to a person."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from PIL import Image

from generation.models import Asset, HashBand, Source, image_search
from moderation.models import Classification, Decision, Policy, Review, Verdict
from moderation.models.found_categories import BITS
from moderation.services import classification, decisions, verification
from tests.conftest import picture
from tests.moderation.page_helpers import ClientOf, decide, get_review_url
from tests.moderation.record_helpers import without_triggers

MakeAsset = Callable[..., Asset]
MakeReview = Callable[..., Review]
REJECTION = {"categories": ["violence.weapons"]}


@pytest.fixture(autouse=True)
def _known_images(settings: Any) -> None:
    settings.CLASSIFIERS = ["hashes", "sandbox"]


@pytest.fixture
def store(make_asset: MakeAsset, make_request: Callable[..., Any]) -> Callable[..., Review]:
    """Return a function that stores a generated image; the sandbox would have to judge it."""

    def store(content: bytes | None = None) -> Review:
        request = make_request()
        return make_asset(content, source=Source.TXT2IMG, request=request, position=0).review

    return store


def resave(content: bytes, quality: int = 90) -> bytes:
    """Return the same picture as another file."""
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def make_pending(review: Review) -> Review:
    """Let the classifiers of a review fail, so that it waits for a person."""
    for run in review.asset.classifications.filter(status=Classification.Status.QUEUED):
        classification.give_up(run, "It was asleep.")
    review.refresh_from_db()
    return review


def reject(client_of: ClientOf, review: Review, user: User, **data: Any) -> Decision:
    make_pending(review)
    assert review.claim_for(user)
    answer = decide(client_of(user), review, "reject", **{**REJECTION, **data})
    assert answer.status_code < 400
    return Decision.objects.get(review=review)


def approve(client_of: ClientOf, review: Review, user: User) -> Decision:
    make_pending(review)
    assert review.claim_for(user)
    assert decide(client_of(user), review, "approve").status_code < 400
    return Decision.objects.get(review=review)


def change_policy(**fields: bool) -> None:
    with without_triggers():  # the policy may have been used already
        Policy.objects.filter(is_active=True).update(**fields)


def list_runs(review: Review) -> list[str]:
    return list(review.asset.classifications.order_by("pk").values_list("classifier", flat=True))


def test_same_file_is_rejected_at_once_without_asking_classifiers(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first = store(picture(1))
    assert list_runs(first) == ["sandbox"]
    reject(client_of, first, moderator)

    second = store(picture(1))

    decision = Decision.objects.get(review=second)
    assert (second.status, decision.verdict) == (Review.Status.REJECTED, Verdict.REJECT)
    assert (decision.by_policy, decision.reviewer, decision.categories) == (
        True,
        None,
        ["violence.weapons"],
    )
    assert list_runs(second) == ["hashes"]
    short = first.asset.short_id
    assert second.reason.startswith(f"Same file as {short}, rejected by moderator on 20")
    assert second.found == BITS["violence"]
    page = unescape(client_of(moderator).get(get_review_url(second)).content.decode())
    assert first.get_absolute_url() in page
    assert f"Open {short}" in page
    assert verification.verify_record()[1] == []


def test_same_original_is_rejected_when_the_rendition_differs(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first = store(picture(1))
    reject(client_of, first, moderator)
    # A rendition stored by another version of the recipe.
    Asset.objects.filter(pk=first.asset.pk).update(sha256="0" * 64)

    assert store(picture(1)).status == Review.Status.REJECTED


def test_reversed_rejection_no_longer_matches_and_neither_do_its_copies(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first = store(picture(1))
    decision = reject(client_of, first, moderator)
    copy = store(picture(1))
    decisions.reverse(decision=decision, user=moderator)

    third = store(picture(1))

    copy.refresh_from_db()
    assert copy.status == Review.Status.REJECTED  # its own decision stands
    assert third.status == Review.Status.CLASSIFYING
    assert list_runs(third) == ["sandbox"]


def test_file_rejected_while_its_copy_is_classified_rejects_the_copy_when_it_is_settled(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first, second = store(picture(1)), store(picture(1))
    assert list_runs(second) == ["sandbox"]
    reject(client_of, first, moderator)

    make_pending(second)

    assert second.status == Review.Status.REJECTED
    assert second.reason.startswith(f"Same file as {first.asset.short_id}")
    assert list_runs(second) == ["sandbox", "hashes"]


def test_rejection_reversed_while_a_look_alike_is_classified_leaves_no_trace(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first = store(picture(1))
    decision = reject(client_of, first, moderator)
    second = store(resave(picture(1)))
    assert second.found & BITS["violence"]
    decisions.reverse(decision=decision, user=moderator)

    make_pending(second)

    assert "Looks like" not in second.reason
    assert not second.found & BITS["violence"]


def test_look_alike_goes_to_a_person_with_the_earlier_verdict(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    change_policy(reuses_approvals=True, trusted_silences=["local"])
    first = store(picture(1))
    reject(client_of, first, moderator, categories=["alcohol.beverages"])

    second = store(resave(picture(1)))

    assert second.asset.sha256 != first.asset.sha256
    assert list_runs(second) == ["hashes", "sandbox"]
    make_pending(second)
    assert second.status == Review.Status.PENDING
    assert f"Looks like {first.asset.short_id} (" in second.reason
    page = unescape(client_of(moderator).get(get_review_url(second)).content.decode())
    known = page.split(">Known images</h2>")[1].split("</section>")[0]
    assert first.get_absolute_url() in known
    assert "rejected by moderator" in known
    assert "of 256 bits differ" in known
    assert f'src="{first.asset.preview}"' in known
    # Blurred by preference: the address of the picture is not loaded.
    assert f'src="{first.asset.thumbnail_url}"' not in known


def test_severe_known_image_shows_no_picture(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first = store(picture(1))
    reject(client_of, first, moderator)
    second = make_pending(store(resave(picture(1))))

    page = unescape(client_of(moderator).get(get_review_url(second)).content.decode())

    known = page.split(">Known images</h2>")[1].split("</section>")[0]
    assert first.get_absolute_url() in known
    assert "<img" not in known


def crowd(asset: Asset, count: int) -> None:
    """Store newer images whose hashes share 15 of 16 bands with an image, but are far from it."""
    assert asset.pdq is not None
    pdq = bytes(asset.pdq)
    start = Asset.objects.latest("pk").pk
    stored = Asset.objects.bulk_create(
        Asset(
            source=Source.UPLOAD,
            source_type="png",
            source_sha256=f"{number:064x}",
            source_bytes=1,
            image_type="png",
            width=1,
            height=1,
            size=1,
            sha256=f"{number:064x}",
            pdq=bytes(byte ^ 255 for byte in pdq[:-26]) + pdq[-26:],
            pdq_quality=100,
        )
        for number in range(start, start + count)
    )
    HashBand.objects.bulk_create(
        HashBand(key=key, asset=one) for one in stored for key in image_search.split_bands(pdq)
    )


def test_newer_images_do_not_hide_an_older_rejected_look_alike(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first = store(picture(1))
    reject(client_of, first, moderator)
    crowd(first.asset, image_search.PER_BAND)

    near = store(resave(picture(1)))

    match = near.asset.classifications.get(classifier="hashes").raw["matches"][0]
    assert match["review"] == str(first.uuid)


@pytest.mark.parametrize(("distance", "is_known"), [(31, True), (0, False)])
def test_distance_of_look_alikes_is_a_setting(
    store: Callable[..., Review],
    client_of: ClientOf,
    moderator: User,
    settings: Any,
    distance: int,
    is_known: bool,
) -> None:
    settings.HASH_MATCH_DISTANCE = distance
    first = store(picture(1))
    reject(client_of, first, moderator)
    Asset.objects.filter(pk=first.asset.pk).update(sha256="0" * 64, source_sha256="0" * 64)
    flipped = bytes([first.asset.pdq[0] ^ 0b111]) + bytes(first.asset.pdq[1:])
    Asset.objects.filter(pk=first.asset.pk).update(pdq=flipped)

    assert ("hashes" in list_runs(store(picture(1)))) is is_known


def test_unrelated_and_approved_images_match_nothing(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    reject(client_of, store(picture(1)), moderator)
    approve(client_of, store(picture(2)), moderator)

    assert list_runs(store(picture(3))) == ["sandbox"]
    again = store(picture(2))
    assert again.status == Review.Status.CLASSIFYING  # the policy does not reuse approvals
    make_pending(again)
    assert again.status == Review.Status.PENDING


def test_policy_that_reuses_approvals_approves_what_a_person_approved(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    change_policy(reuses_approvals=True)
    first = store(picture(1))
    decision = approve(client_of, first, moderator)

    second = store(picture(1))
    # The approval of a copy is the policy's own, so it counts only as long as a person's stands.
    decisions.reverse(decision=decision, user=moderator)
    third = store(picture(1))

    assert second.status == Review.Status.APPROVED
    assert Decision.objects.get(review=second).by_policy
    assert "counts that as an approval" in second.reason
    assert list_runs(second) == ["hashes"]
    assert third.status == Review.Status.CLASSIFYING


def test_copy_of_a_file_that_was_approved_blurred_is_approved_blurred(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    change_policy(reuses_approvals=True)
    first = make_pending(store(picture(1)))
    assert first.claim_for(moderator)
    given = {"categories": ["swimwear-underwear.female"]}
    assert decide(client_of(moderator), first, "blur", **given).status_code < 400

    second = store(picture(1))

    assert (second.status, second.is_blurred) == (Review.Status.APPROVED, True)
    decision = Decision.objects.get(review=second)
    assert (decision.by_policy, decision.is_blurred) == (True, True)
    assert decision.categories == given["categories"]
    assert "approved blurred by moderator" in second.reason


def test_rejection_of_one_copy_outweighs_the_approval_of_another(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    first, second = store(picture(1)), store(picture(1))
    approve(client_of, first, moderator)
    reject(client_of, second, moderator)
    change_policy(reuses_approvals=True)

    assert store(picture(1)).status == Review.Status.REJECTED


def test_policy_that_may_not_approve_reuses_no_approval(
    store: Callable[..., Review], client_of: ClientOf, moderator: User
) -> None:
    change_policy(reuses_approvals=True, may_approve=False)
    approve(client_of, store(picture(1)), moderator)

    assert store(picture(1)).status == Review.Status.CLASSIFYING


def test_rejection_under_a_second_opinion_counts_and_a_disputed_one_does_not(
    store: Callable[..., Review],
    client_of: ClientOf,
    moderator: User,
    other_moderator: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    first = store(picture(1))
    reject(client_of, first, moderator)
    assert store(picture(1)).status == Review.Status.REJECTED
    first.refresh_from_db()
    assert first.claim_for(other_moderator)
    decisions.decide(review=first, user=other_moderator, verdict=Verdict.APPROVE)
    first.refresh_from_db()
    assert first.is_disputed

    assert store(picture(1)).status == Review.Status.CLASSIFYING

"""Delivered blurred: from the policy or a person to the program, and back to the sharp file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.test import Client
from django.urls import reverse
from PIL import Image

from generation import imaging
from generation.core.storage import StorageUnavailableError, blurred_name
from generation.imaging.rendition import BLUR_SIDE
from generation.models import Asset
from generation.services import blurring, file_checks
from moderation import tasks
from moderation.models import Decision, PolicyRule, Review, Verdict
from moderation.services import decisions
from tests.generation.imaging.pictures import encoded, opened, picture
from tests.generation.imaging.test_original import FILES
from tests.moderation.api.calls import LocalServer
from tests.moderation.api.test_delivered_forms import HOST, Download, approve, list_asset, store
from tests.moderation.api.test_novita import result
from tests.moderation.api.webhook_orders import list_received_events, submit_and_run
from tests.moderation.page_helpers import ClientOf, record_legacy_approval
from tests.moderation.record_helpers import verify_chain
from tests.stored import list_stored, read_stored

pytestmark = pytest.mark.django_db
DRINK = "sandbox:alcohol.beverages@70"


@pytest.fixture(autouse=True)
def _no_classifiers(settings: Any) -> None:
    settings.CLASSIFIERS = []


def approve_blurred(asset: Asset, user: User, *categories: str) -> Decision:
    decisions.claim(review=asset.review, user=user)
    return decisions.decide(
        review=asset.review,
        user=user,
        verdict=Verdict.APPROVE,
        is_blurred=True,
        categories=categories,
    )


def change_blur(client: Client, review: Review, *, blurred: bool, note: str = "") -> Any:
    data = {"blurred": "1" if blurred else "", "note": note}
    return client.post(reverse("moderation:review-blur", args=[review.uuid]), data)


def get_status(url: str) -> int:
    return Client().get(url.removeprefix(HOST)).status_code


def assert_is_blurred(got: Download, asset: Asset) -> None:
    """Check that a download is the asset's blurred form and shows only a few of its pixels."""
    sharp = [read_stored(file.name) for file in (asset.rendition, asset.original) if file]
    assert (got.status, got.form, got.reason) == (200, "blurred", "")
    assert got.content not in sharp
    assert got.content_type == f"image/{asset.image_type}"
    image = opened(got.content).convert("RGB")
    assert image.size == (asset.width, asset.height)
    few = image.resize((BLUR_SIDE, BLUR_SIDE), 4)
    again = np.asarray(few.resize(image.size, 3)).astype(int)
    assert np.abs(np.asarray(image).astype(int) - again).mean() < 6


# --- The file ---
@pytest.mark.parametrize("name", ["jpeg", "png", "png-alpha", "webp-alpha", "gif-animated"])
def test_blurred_image_has_the_size_and_type_of_the_rendition(name: str, moderator: User) -> None:
    asset = store(FILES[name]())
    approve_blurred(asset, moderator)

    row = list_asset(asset)
    got = Download(row["url"])

    assert row["url"].endswith(f".{asset.image_type}")
    assert_is_blurred(got, asset)
    assert list_asset(asset)["properties"]["size"] == len(got.content)


def test_fine_detail_is_gone_from_a_blurred_image(moderator: User) -> None:
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    asset = store(encoded(Image.fromarray(noise), "PNG"))
    approve_blurred(asset, moderator)

    shown = np.asarray(opened(Download(list_asset(asset)["url"]).content)).astype(int)

    # Neighbouring pixels of the noise differ by 85 on average.
    assert np.abs(np.diff(noise.astype(int), axis=1)).mean() > 60
    assert np.abs(np.diff(shown, axis=1)).mean() < 5


def test_blurred_file_is_made_once_and_always_the_same(
    moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = store(encoded(picture(seed=61), "JPEG"))
    approve_blurred(asset, moderator)
    assert list_asset(asset)["properties"]["size"] == 0
    first = Download(list_asset(asset)["url"]).content
    name = blurred_name(asset.sha256, asset.image_type)
    storages["assets"].delete(name)

    again = Download(list_asset(asset)["url"]).content
    monkeypatch.setattr(imaging, "blur", None)  # a second call would fail

    assert first == again == Download(list_asset(asset)["url"]).content
    assert name in list_stored()
    assert name not in file_checks.verify_files().orphaned


@pytest.mark.parametrize(
    "error", [imaging.DecoderUnavailableError("Busy."), StorageUnavailableError("Full.")]
)
def test_blurred_image_that_cannot_be_made_is_never_replaced_by_the_sharp_one(
    error: Exception, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = store(FILES["jpeg"]())
    approve_blurred(asset, moderator)
    url = list_asset(asset)["url"]

    def fail(asset: Asset) -> None:
        raise error

    monkeypatch.setattr(blurring, "store_blurred", fail)
    answer = Client().get(url.removeprefix(HOST))

    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert b"<Code>ServiceUnavailable</Code>" in answer.content


def test_blurred_image_without_its_rendition_returns_404(moderator: User) -> None:
    asset = store(encoded(picture(seed=62), "JPEG"))
    approve_blurred(asset, moderator)
    storages["assets"].delete(str(asset.rendition.name))

    assert get_status(list_asset(asset)["url"]) == 404


# --- Changes ---
def test_url_of_the_sharp_file_ends_when_a_person_blurs_the_image_and_back(
    senior: User, client_of: ClientOf
) -> None:
    asset = store(FILES["jpeg"]())
    approve(asset, senior)
    sharp = list_asset(asset)["url"]
    assert Download(sharp).form == "original"

    assert change_blur(client_of(senior), asset.review, blurred=True).status_code == 303
    blurred = list_asset(asset)["url"]

    assert get_status(sharp) == 403
    assert_is_blurred(Download(blurred), asset)
    assert change_blur(client_of(senior), asset.review, blurred=False).status_code == 303
    assert get_status(blurred) == 403
    assert Download(list_asset(asset)["url"]).form == "original"
    assert Download(list_asset(asset)["url"]).content == read_stored(asset.original.name)


def test_tampered_token_does_not_turn_a_blurred_url_into_a_sharp_one(moderator: User) -> None:
    asset = store(FILES["jpeg"]())
    approve_blurred(asset, moderator)

    url = list_asset(asset)["url"]

    assert "-blurred" in url
    assert get_status(url.replace("-blurred", "")) == 403


def test_lifting_is_a_decision_of_its_own_and_undo_opens_the_image_again(
    senior: User, moderator: User, client_of: ClientOf
) -> None:
    asset = store(FILES["jpeg"]())
    approve_blurred(asset, moderator)
    client = client_of(senior)

    refused = change_blur(client, asset.review, blurred=False)
    change_blur(client, asset.review, blurred=False, note="Only a beach.")

    assert refused.status_code == 422
    rows = list(Decision.objects.order_by("sequence").values_list("verdict", "is_blurred", "note"))
    assert rows == [
        ("approve", True, ""),
        ("reopen", False, "Only a beach."),
        ("approve", False, "Only a beach."),
    ]
    assert verify_chain(Decision.objects.order_by("sequence")) == []
    client.post(reverse("moderation:undo"))
    review = Review.objects.get()
    assert (review.status, review.is_blurred) == (Review.Status.PENDING, False)
    assert review.is_held_by(senior)
    assert list_asset(asset)["url"] == ""


def test_moderator_may_not_lift_another_persons_decision(
    moderator: User, other_moderator: User, client_of: ClientOf
) -> None:
    asset = store(FILES["jpeg"]())
    approve_blurred(asset, other_moderator)

    answer = change_blur(client_of(moderator), asset.review, blurred=False, note="Fine.")

    assert answer.status_code == 403
    assert Review.objects.get().is_blurred


def test_unchanged_delivery_and_undecided_image_return_409(
    senior: User, client_of: ClientOf
) -> None:
    blurred, waiting = store(FILES["jpeg"]()), store(FILES["png"]())
    approve_blurred(blurred, senior)

    assert change_blur(client_of(senior), blurred.review, blurred=True).status_code == 409
    assert change_blur(client_of(senior), waiting.review, blurred=True).status_code == 409
    assert Decision.objects.count() == 1


def test_only_an_approval_can_be_blurred(moderator: User) -> None:
    asset = store(FILES["jpeg"]())
    decisions.claim(review=asset.review, user=moderator)

    with pytest.raises(decisions.InvalidDecisionError):
        decisions.decide(
            review=asset.review,
            user=moderator,
            verdict=Verdict.REJECT,
            is_blurred=True,
            categories=["explicit.nudity"],
        )


def test_second_opinion_that_differs_only_in_blurring_escalates(
    moderator: User, other_moderator: User
) -> None:
    asset = store(FILES["jpeg"]())
    approve_blurred(asset, moderator)
    Review.objects.update(second_opinion=Review.SecondOpinion.WANTED)
    review = Review.objects.get()
    decisions.claim(review=review, user=other_moderator)

    decisions.decide(review=review, user=other_moderator, verdict=Verdict.APPROVE)

    review.refresh_from_db()
    assert (review.status, review.is_blurred) == (Review.Status.ESCALATED, False)
    assert list_asset(asset)["url"] == ""


# --- The record ---
def test_old_rows_keep_their_hash_and_a_changed_flag_breaks_the_chain(
    moderator: User, make_review: Callable[..., Review]
) -> None:
    record_legacy_approval(make_review(), moderator)
    approve_blurred(store(FILES["jpeg"]()), moderator)
    rows = list(Decision.objects.order_by("sequence"))
    assert verify_chain(rows) == []
    assert "is_blurred" not in rows[0].hash

    rows[1].is_blurred = False

    assert verify_chain(rows) == ["Decision 2 was altered."]


# --- Scenario's format ---
def test_labels_of_a_blurred_image_name_its_categories(moderator: User) -> None:
    named, unnamed, sharp = (store(FILES[name]()) for name in ("jpeg", "png", "webp-alpha"))
    approve_blurred(named, moderator, "alcohol.beverages")
    approve_blurred(unnamed, moderator)
    approve(sharp, moderator)

    assert list_asset(named)["nsfw"] == ["alcohol", "blurred"]
    assert list_asset(unnamed)["nsfw"] == ["blurred"]
    assert list_asset(sharp)["nsfw"] == []


# --- Novita's format, from the policy to the program ---
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("novita_sandbox")
def test_policy_blurs_program_is_told_and_a_person_lifts_it(
    key: str, hook: LocalServer, senior: User, client_of: ClientOf, settings: Any
) -> None:
    settings.CLASSIFIERS = ["sandbox"]
    PolicyRule.objects.filter(category="alcohol").update(review_at=40, blur_at=60, reject_at=95)
    task = submit_and_run(key, hook, prompt=DRINK)
    tasks.deliver()
    review = Review.objects.get()
    assert (review.status, review.is_blurred) == (Review.Status.APPROVED, True)
    assert "delivers it blurred from 60" in review.reason

    event = hook.posts[-1].event["payload"]
    (told,) = event["extra"]["moderation"]["images"]
    (image,) = event["images"]
    assert (told["verdict"], told["delivered"], told["decided_by"]) == (
        "approved",
        "blurred",
        "policy",
    )
    assert told["categories"] == ["alcohol.beverages"]
    assert_is_blurred(Download(image["image_url"]), review.asset)

    change_blur(client_of(senior), review, blurred=False, note="A vase.")
    tasks.deliver()
    tasks.deliver()

    assert get_status(image["image_url"]) == 403
    assert list_received_events(hook)[-1] == ("finished", 2, "TASK_STATUS_SUCCEED", 1)
    answer = result(key, task).json()
    (told,) = answer["extra"]["moderation"]["images"]
    assert (told["delivered"], told["decided_by"], told["categories"]) == ("original", "person", [])
    assert Download(answer["images"][0]["image_url"]).form == "original"

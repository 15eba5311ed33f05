"""Delivery as made: the original of an approved image, or the rendition with the reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation import imaging
from generation.models import Asset, Source
from generation.services import model_catalog
from generation.services.storing import Origin, store_rendition
from moderation.models import Policy, Review, Verdict
from moderation.services import batches, decisions, originals, policies
from tests.generation.imaging.pictures import encoded, opened, picture
from tests.generation.imaging.test_original import CANARY, FILES, animated, read_pixels
from tests.generation.pipeline_helpers import run_line
from tests.moderation.api.calls import make_key
from tests.moderation.api.test_novita import body, result, submit
from tests.moderation.api.test_scenario import decide_by_policy
from tests.moderation.page_helpers import ClientOf
from tests.stored import read_stored

pytestmark = pytest.mark.django_db
HOST = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def _no_classifiers(settings: Any) -> None:
    settings.CLASSIFIERS = []


def store(content: bytes) -> Asset:
    origin = Origin(source=Source.API, external_id=uuid4().hex)
    return store_rendition(rendition=imaging.render(content), origin=origin)


def approve(asset: Asset, user: User) -> None:
    decisions.claim(review=asset.review, user=user)
    decisions.decide(review=asset.review, user=user, verdict=Verdict.APPROVE)


def approve_by_policy(asset: Asset) -> None:
    decide_by_policy(asset.review, Verdict.APPROVE)
    asset.refresh_from_db()


def list_asset(asset: Asset) -> dict[str, Any]:
    """Return the asset in Scenario's format."""
    answer = Client().get(
        f"/v1/assets/{asset.uuid}", headers={"authorization": f"Bearer {make_key('read:all')}"}
    )
    found: dict[str, Any] = answer.json()["asset"]
    return found


class Download:
    """A downloaded image and its headers."""

    def __init__(self, url: str) -> None:
        answer: Any = Client().get(url.removeprefix(HOST))
        self.status = answer.status_code
        self.content = b"".join(answer.streaming_content)
        self.content_type = answer["Content-Type"]
        self.form = answer["X-Loupe-Delivered"]
        self.reason = answer.headers.get("X-Loupe-Delivered-Reason", "")


def download(asset: Asset) -> Download:
    return Download(list_asset(asset)["url"])


@pytest.mark.parametrize(
    "name",
    ["jpeg", "png", "png-alpha", "png-16-rgb", "webp-alpha", "gif-animated", "apng", "jpeg-cmyk"],
)
def test_image_approved_by_a_person_is_delivered_as_made(name: str, moderator: User) -> None:
    content = FILES[name]()
    asset = store(content)
    approve(asset, moderator)

    row, got = list_asset(asset), download(asset)

    kind = {"apng": "png"}.get(name, name.partition("-")[0])
    assert (got.form, got.reason, got.content_type) == ("original", "", f"image/{kind}")
    assert (row["mimeType"], row["properties"]["size"]) == (f"image/{kind}", len(got.content))
    assert row["url"].endswith(f".{kind}")
    assert read_pixels(got.content) == read_pixels(content)
    assert CANARY not in got.content


@pytest.mark.parametrize(
    ("name", "form", "reason"),
    [
        ("jpeg", "original", ""),
        ("png-alpha", "rendition", "unseen"),
        ("gif-animated", "rendition", "unseen"),
    ],
)
def test_policy_approval_delivers_what_classifiers_saw(name: str, form: str, reason: str) -> None:
    asset = store(FILES[name]())
    approve_by_policy(asset)

    got = download(asset)

    assert (got.form, got.reason) == (form, reason)
    if form == "rendition":
        assert got.content == read_stored(asset.rendition.name)
        assert got.content_type == f"image/{asset.image_type}"
        assert list_asset(asset)["url"].endswith(f".{asset.image_type}")


def test_batch_approval_of_a_transparent_image_delivers_the_rendition(moderator: User) -> None:
    asset = store(FILES["png-alpha"]())
    decisions.claim(review=asset.review, user=moderator)
    batches.decide_many(
        batch=uuid4(),
        reviews=[asset.review],
        user=moderator,
        verdict=Verdict.APPROVE,
    )

    got = download(asset)

    assert (got.form, got.reason) == ("rendition", "unseen")


def test_second_opinion_of_a_person_delivers_the_original(moderator: User) -> None:
    asset = store(FILES["png-alpha"]())
    approve_by_policy(asset)
    assert download(asset).form == "rendition"
    Review.objects.update(second_opinion=Review.SecondOpinion.WANTED)
    review = Review.objects.get()
    decisions.claim(review=review, user=moderator)
    decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)

    assert download(asset).form == "original"


def test_policy_that_insists_delivers_the_rendition(moderator: User, lead: User) -> None:
    before, after = store(FILES["jpeg"]()), store(FILES["png"]())
    approve(before, moderator)
    version = policies.create_version(
        based_on=Policy.objects.active(), user=lead, delivers_rendition=True
    )
    policies.activate(policy=version, user=lead)
    approve(after, moderator)

    assert download(before).form == "original"
    assert (download(after).form, download(after).reason) == ("rendition", "policy")
    copy = policies.create_version(based_on=version, user=lead)
    assert copy.delivers_rendition


def test_asset_without_an_original_is_delivered_as_rendition(moderator: User) -> None:
    asset = store(FILES["png"]())
    approve(asset, moderator)
    Asset.objects.update(original="", original_type="", original_sha256="", original_size=None)

    got = download(asset)

    assert (got.form, got.reason) == ("rendition", "no-original")
    assert got.content == read_stored(asset.rendition.name)


def test_url_from_before_the_removal_delivers_the_rendition(moderator: User, settings: Any) -> None:
    asset = store(FILES["gif-animated"]())
    approve(asset, moderator)
    url = list_asset(asset)["url"]
    settings.ORIGINALS = timedelta(0)
    originals.remove_due_originals(10)

    got = Download(url)

    assert (got.form, got.reason, got.content_type) == ("rendition", "removed", "image/png")


def test_missing_file_delivers_the_rendition(moderator: User) -> None:
    asset = store(FILES["png"]())
    approve(asset, moderator)
    asset.original.storage.delete(asset.original.name)

    got = download(asset)

    assert (got.form, got.reason) == ("rendition", "file-missing")


def test_original_is_not_served_before_the_approval(moderator: User, client_of: ClientOf) -> None:
    asset = store(FILES["png-alpha"]())
    assert list_asset(asset)["url"] == ""

    answer: Any = client_of(moderator).get(f"/assets/{asset.uuid}/file")

    assert b"".join(answer.streaming_content) == read_stored(asset.rendition.name)


# --- Hidden content, from the file to the desk to the program ---
def read_page(client: Client, asset: Asset) -> str:
    return client.get(f"/reviews/{asset.review.uuid}/?reveal=1").content.decode()


def read_view(client: Client, asset: Asset, kind: str) -> np.ndarray[Any, Any]:
    answer: Any = client.get(f"/assets/{asset.uuid}/views/{kind}")
    content = b"".join(answer.streaming_content)
    assert answer["Content-Type"] == "image/webp"
    return np.asarray(opened(content).convert("RGB")).astype(int)


def test_picture_hidden_under_transparency_is_shown_to_the_person(
    moderator: User, client_of: ClientOf
) -> None:
    hidden = picture(seed=4)
    image = hidden.convert("RGBA")
    image.putalpha(0)
    asset = store(encoded(image, "PNG"))
    assert np.asarray(opened(read_stored(asset.rendition.name))).std() == 0

    client = client_of(moderator)
    page = read_page(client, asset)

    for kind in ("checkerboard", "white", "black", "opaque"):
        assert f"/assets/{asset.uuid}/views/{kind}" in page
    seen = read_view(client, asset, "opaque")
    assert np.abs(seen - np.asarray(hidden).astype(int)).mean() < 12
    approve_by_policy(asset)
    assert download(asset).form == "rendition"
    assert np.asarray(opened(download(asset).content)).std() == 0


def test_picture_hidden_in_a_later_frame_is_shown_to_the_person(
    moderator: User, client_of: ClientOf
) -> None:
    asset = store(animated("GIF", 4))

    client = client_of(moderator)
    assert "All frames" in read_page(client, asset)
    sheet = read_view(client, asset, "frames")

    last = np.asarray(picture(seed=3)).astype(int)
    tall, wide, _ = last.shape
    assert np.abs(sheet[tall:, wide:] - last).mean() < 15
    approve_by_policy(asset)
    assert download(asset).form == "rendition"


def test_frames_beyond_those_that_are_shown_are_never_delivered(moderator: User) -> None:
    asset = store(animated("GIF", 40))
    approve(asset, moderator)

    got = download(asset)

    assert (got.form, got.reason) == ("rendition", "too-many-frames")
    assert getattr(opened(got.content), "n_frames", 1) == 1


def test_views_are_not_on_the_page_before_the_reveal(moderator: User, client_of: ClientOf) -> None:
    asset = store(FILES["png-alpha"]())

    page = client_of(moderator).get(f"/reviews/{asset.review.uuid}/?reveal=0").content.decode()

    assert f"/assets/{asset.uuid}/views/" not in page
    assert "with transparency" in page
    assert asset.original_sha256 in page


def test_unknown_view_returns_404(moderator: User, client_of: ClientOf) -> None:
    asset = store(FILES["png-alpha"]())
    client = client_of(moderator)

    assert client.get(f"/assets/{asset.uuid}/views/frames").status_code == 404
    assert client.get(f"/assets/{asset.uuid}/views/original").status_code == 404


# --- Novita's format ---
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("novita_sandbox")
def test_transparent_png_is_delivered_transparent_after_a_person_approved(
    moderator: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CLASSIFIERS = ["sandbox"]
    monkeypatch.setattr(model_catalog, "WAIT", 120.0)  # a busy machine needs more than 2 s
    key = make_key("generate")
    order = body(
        model_name="amberlight_v2_55113.safetensors",
        prompt="a whisky bottle",
        enable_transparent_background=True,
    )
    order["extra"] = {"response_image_type": "png"}
    sent = submit(key, order)
    assert sent.status_code == 200, sent.content
    task = sent.json()["task_id"]
    run_line()
    asset = Asset.objects.get()
    assert asset.differs == ["alpha"]
    approve(asset, moderator)

    answer = result(key, task).json()

    (image,) = answer["images"]
    (told,) = answer["extra"]["moderation"]["images"]
    assert (told["delivered"], told["delivered_reason"]) == ("original", "")
    assert image["image_type"] == "png"
    got = Download(image["image_url"])
    alpha = np.asarray(opened(got.content).convert("RGBA"))[..., 3]
    assert (alpha.min(), alpha.max()) == (0, 255)

"""From a stored image through nano-gpt's sandbox, over a socket, to its review; and every fault on the way."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image

import moderation.tasks
from generation import pumps
from generation.models import Asset
from generation.providers import nanogpt as client
from generation.providers.base import ProviderBusy
from generation.sandbox import marker
from moderation import classifiers
from moderation.classifiers import nanogpt as classifier
from moderation.classifiers.base import RemoteClassifier
from moderation.models import Classification, Decision, Policy, Review
from moderation.services import asking

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status


@pytest.fixture(autouse=True)
def calls(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sandbox over a socket; the number of images of every call that is made."""
    settings.CLASSIFIERS = ["nanogpt"]
    base_url = f"{live_server.url}/sandbox/nano-gpt"
    settings.NANOGPT = {"api_key": "sandbox", "base_url": base_url, "label": "nano-gpt (sandbox)"}
    made: list[int] = []
    real = client.NanoGpt.classify

    def counted(self: Any, images: Any) -> Any:
        made.append(len(images))
        return real(self, images)

    monkeypatch.setattr(client.NanoGpt, "classify", counted)
    return made


@pytest.fixture
def key(settings: Any) -> Callable[[str], None]:
    def use(value: str) -> None:
        settings.NANOGPT = {**settings.NANOGPT, "api_key": value}

    return use


def shown(*labels: tuple[str, int], seed: int = 0) -> bytes:
    picture = Image.new("RGB", (256, 192), (40 + seed * 7 % 150, 60 + seed * 31 % 150, 120))
    picture.paste((200, seed * 5 % 255, 90), (20, 20, 60 + seed, 80))
    marker.draw(picture, labels)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


NSFW = ("explicit.nudity", 90)


def store(make_asset: Callable[..., Asset], count: int, *, flagged: tuple[int, ...] = ()) -> list[Classification]:
    assets = [make_asset(shown(*[NSFW] * (n in flagged), seed=n)) for n in range(count)]
    return [asset.classifications.get() for asset in assets]


def run() -> None:
    moderation.tasks.ask()


def let_time_pass() -> None:
    due = Classification.objects.filter(due_at__isnull=False)
    due.update(due_at=timezone.now() - timedelta(seconds=1))


def nothing_approved() -> bool:
    return not Decision.objects.exists() and not Review.objects.filter(status=Review.Status.APPROVED).exists()


def settled(row: Classification) -> Review:
    review = Review.objects.get(asset=row.asset_id)
    assert review.status == Review.Status.PENDING
    assert review.why.endswith(".")
    return review


# --- The way to the review -------------------------------------------------------------------------------------------
def test_a_flagged_image_goes_to_a_person_as_flagged_without_a_category(make_asset: Any, moderator: User) -> None:
    (row,) = store(make_asset, 1, flagged=(0,))
    run()

    row.refresh_from_db()
    assert (row.status, row.flagged, row.score, row.labels.count()) == (Status.DONE, True, None, 0)
    review = settled(row)
    assert review.why.startswith("nano-gpt (sandbox) flagged it: no category was named.")
    assert (review.headline, review.headline_confidence) == ("", None)
    browser = Client()
    browser.force_login(moderator)
    page = browser.get(reverse("moderation:review-detail", args=[review.uuid])).content.decode()
    assert "flagged, no category" in page
    assert "NSFW score" not in page
    assert "Sees only, and in part:" in page


def test_a_no_is_shown_and_approves_nothing(make_asset: Any, moderator: User) -> None:
    Policy.objects.update(trusts_local_silence=True)
    (row,) = store(make_asset, 1)
    run()

    row.refresh_from_db()
    assert (row.status, row.flagged, row.covers) == (Status.DONE, False, {"explicit": "partial"})
    review = settled(row)
    assert "nobody could look for: Explicit" in review.why
    browser = Client()
    browser.force_login(moderator)
    assert "not flagged" in browser.get(reverse("moderation:review-detail", args=[review.uuid])).content.decode()
    assert nothing_approved()


def test_images_are_asked_about_ten_at_a_time_and_each_keeps_its_own_verdict_and_share(
    make_asset: Any, calls: list[int]
) -> None:
    rows = store(make_asset, 12, flagged=(3, 11))
    run()

    assert calls == [10, 2]
    for number, row in enumerate(rows):
        row.refresh_from_db()
        assert row.flagged is (number in (3, 11))
        assert (row.cost, row.raw["currency"], row.raw["service"]) == (Decimal("0.0015"), "USD", "nano-gpt (sandbox)")
        assert row.raw["position"] == number % 10
        assert row.duration_ms is not None
        assert row.attempts == 1
        settled(row)


def test_local_classifiers_are_left_to_their_own_pump(make_asset: Any, calls: list[int], settings: Any) -> None:
    settings.CLASSIFIERS = ["nanogpt", "scripted"]
    settings.CLASSIFIER_BACKENDS = {
        **settings.CLASSIFIER_BACKENDS, "scripted": "tests.moderation.classifiers.test_nanogpt.Scripted",
    }  # fmt: skip
    asset = make_asset(shown())
    moderation.tasks.classify()
    assert calls == []
    assert dict(asset.classifications.values_list("classifier", "status")) == {"nanogpt": "queued", "scripted": "done"}
    assert asset.review.status == Review.Status.CLASSIFYING

    run()
    asset.review.refresh_from_db()
    assert asset.review.status == Review.Status.APPROVED  # by what the other one saw, beside nano-gpt's "no"


class Scripted:
    """Sees everything, finds nothing."""

    slug, label, version, trusted_when_silent = "scripted", "Scripted", "1", True

    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Any:
        from moderation import taxonomy
        from moderation.classifiers.base import Assessment, Coverage

        return Assessment(flagged=False, covers={category.slug: Coverage.FULL for category in taxonomy.L1})


# --- Refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["policy", "policy-object"])
def test_a_policy_violation_flags_the_image_that_is_refused_alone(
    make_asset: Any, key: Any, calls: list[int], kind: str
) -> None:
    key(f"sandbox-{kind}")
    rows = store(make_asset, 4, flagged=(2,))
    run()

    assert calls == [4, 1, 1, 1, 1]
    for number, row in enumerate(rows):
        row.refresh_from_db()
        assert (row.status, row.flagged) == (Status.DONE, number == 2)
        settled(row)
    assert "refused" in rows[2].raw
    assert (rows[2].cost, rows[0].cost) == (0, Decimal("0.0015"))
    assert "(HTTP 400" in settled(rows[2]).why
    assert settled(rows[2]).why.startswith("nano-gpt (sandbox) flagged it: nano-gpt (sandbox) refused the request")
    assert nothing_approved()


def test_a_call_that_is_too_large_is_made_in_parts(make_asset: Any, key: Any, calls: list[int]) -> None:
    key("sandbox-413")
    rows = store(make_asset, 3, flagged=(1,))
    run()
    assert calls == [3, 1, 1, 1]
    assert [Classification.objects.get(pk=row.pk).flagged for row in rows] == [False, True, False]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("401", "Check NANOGPT_API_KEY"), ("402", "Insufficient balance"), ("403", "Check NANOGPT_API_KEY"),
        ("404", "NANOGPT_BASE_URL"), ("redirect", "NANOGPT_BASE_URL"), ("413-always", "Payload too large"),
        ("429-daily", "Daily request limit exceeded"), ("html", "not in JSON"), ("half", "not in JSON"),
        ("empty", "has_nsfw_concepts"), ("short", "verdicts"), ("long", "verdicts"), ("miscounted", "verdicts"),
        ("truncated", "did not look at every image"), ("words", "has_nsfw_concepts"), ("nulls", "has_nsfw_concepts"),
        ("contradiction", "contradicts itself"),
    ],
)  # fmt: skip
def test_what_will_not_get_better_goes_to_a_person_at_once(make_asset: Any, key: Any, kind: str, sentence: str) -> None:
    key(f"sandbox-{kind}")
    rows = store(make_asset, 2, flagged=(1,))
    run()
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.flagged) == (Status.FAILED, None)
        assert sentence in row.error
        assert f"could not judge it: {row.error}" in settled(row).why
    assert nothing_approved()


def test_a_useless_answer_is_paid_for_and_its_images_are_asked_about_one_by_one(
    make_asset: Any, key: Any, calls: list[int]
) -> None:
    key("sandbox-short")
    rows = store(make_asset, 2)
    run()
    assert calls == [2, 1, 1]
    assert [Classification.objects.get(pk=row.pk).cost for row in rows] == [Decimal("0.003")] * 2


@pytest.mark.parametrize("kind", ["xno", "bare", "odd-cost"])
def test_what_is_not_charged_in_dollars_is_reckoned_by_the_price_list(make_asset: Any, key: Any, kind: str) -> None:
    key(f"sandbox-{kind}")
    (row,) = store(make_asset, 1)
    run()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.DONE, Decimal("0.0015"))
    assert (row.raw["currency"], row.raw["cost"]) == (("XNO", "0.001700") if kind == "xno" else ("USD", None))


# --- Outages ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["429-always", "500", "502", "503"])
def test_an_outage_is_waited_out_for_a_quarter_of_an_hour_and_then_a_person_looks(
    make_asset: Any, key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    rows = store(make_asset, 3)
    waited = timedelta(0)
    for attempt in range(1, asking.ATTEMPTS + 1):
        assert not Classification.objects.exclude(status=Status.QUEUED).exists()
        before = timezone.now()
        run()
        row = Classification.objects.order_by("pk")[0]
        assert row.attempts == attempt
        assert row.error
        if row.due_at is not None:
            waited += row.due_at - before
        let_time_pass()
    run()

    for row in rows:
        row.refresh_from_db()
        assert row.status == Status.FAILED
        assert row.error.endswith("It was asked 9 times.")
        settled(row)
    assert timedelta(minutes=14) < waited < timedelta(minutes=18)
    assert nothing_approved()


def test_a_service_that_is_away_is_not_asked_again_for_every_image(make_asset: Any, key: Any, calls: list[int]) -> None:
    key("sandbox-503")
    rows = store(make_asset, 25)
    run()
    assert calls == [10]
    for row in rows:
        row.refresh_from_db()
        assert row.attempts == 1
        assert row.due_at is not None
        assert row.due_at > timezone.now() + timedelta(seconds=25)  # its Retry-After is 30


def test_an_outage_that_ends_costs_nothing_but_time(make_asset: Any, key: Any) -> None:
    key("sandbox-429")
    rows = store(make_asset, 3, flagged=(0,))
    for _ in range(3):
        run()
        let_time_pass()
    assert [Classification.objects.get(pk=row.pk).flagged for row in rows] == [True, False, False]
    assert Classification.objects.filter(error="").count() == 3


def test_an_unreachable_service_is_an_outage(make_asset: Any, settings: Any) -> None:
    settings.NANOGPT = {**settings.NANOGPT, "base_url": "http://127.0.0.1:1"}
    (row,) = store(make_asset, 1)
    run()
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.QUEUED, 1)
    assert "could not be reached" in row.error


def test_an_unanswered_call_counts_as_spent(make_asset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = store(make_asset, 1)

    def silent(self: Any, images: Any) -> Any:
        raise client.Unanswered("nano-gpt did not answer in time, or broke off.")

    with monkeypatch.context() as patch:
        patch.setattr(client.NanoGpt, "classify", silent)
        run()
    let_time_pass()
    run()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.DONE, Decimal("0.003"))


def test_an_image_that_makes_its_calls_fail_takes_no_others_along(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = store(make_asset, 3)
    poison = rows[1].asset
    with poison.rendition.open("rb") as file:
        content = file.read()
    real = client.NanoGpt.classify

    def fail(self: Any, images: Any) -> Any:
        if any(sent == content for sent, _ in images):
            raise client.ServerFailed("nano-gpt failed.")
        return real(self, images)

    monkeypatch.setattr(client.NanoGpt, "classify", fail)
    for _ in range(asking.ATTEMPTS + 1):
        run()
        let_time_pass()
    statuses = [Classification.objects.get(pk=row.pk).status for row in rows]
    assert statuses == [Status.DONE, Status.FAILED, Status.DONE]
    assert nothing_approved()


def test_a_worker_that_dies_on_an_image_every_time_leaves_it_to_a_person(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = store(make_asset, 1)

    class Killed(BaseException):
        pass

    def die(self: Any, images: Any) -> Any:
        assert Classification.objects.get().attempts > 0, "counted before the risky step"
        raise Killed

    monkeypatch.setattr(client.NanoGpt, "classify", die)
    deaths = 0
    for _ in range(asking.ATTEMPTS + 3):
        let_time_pass()
        try:
            run()
        except Killed:
            deaths += 1
    row.refresh_from_db()
    assert (deaths, row.status) == (asking.ATTEMPTS, Status.FAILED)
    assert "ended its worker" in settled(row).why


def test_a_worker_killed_at_any_write_loses_and_doubles_nothing(make_asset: Any, key: Any) -> None:
    class Killed(BaseException):
        pass

    key("sandbox-policy")
    effect, finished = 0, False
    while not finished:
        rows = [make_asset(shown(*[NSFW] * n, seed=10 * effect + n)).classifications.get() for n in range(2)]
        writes = 0

        def count(execute: Any, query: str, params: Any, many: bool, context: Any, dies_at: int = effect) -> Any:
            nonlocal writes
            if query.startswith(("INSERT", "UPDATE")) and "pump" not in query and "sandbox" not in query:
                writes += 1
                if writes > dies_at:
                    raise Killed
            return execute(query, params, many, context)

        try:
            with connection.execute_wrapper(count):
                run()
            finished = True
        except Killed:
            pass
        pumps.start_over()
        let_time_pass()
        run()
        for number, row in enumerate(rows):
            row.refresh_from_db()
            assert (row.status, row.flagged) == (Status.DONE, bool(number))
            settled(row)
        effect += 1
    assert effect > 4
    assert nothing_approved()


def test_a_turn_that_ends_gives_back_what_it_has_not_asked_about(make_asset: Any, key: Any, calls: list[int]) -> None:
    key("sandbox-413")
    store(make_asset, 4)
    rows = Classification.objects.filter(status=Status.QUEUED).claim(limit=10, lease=asking.LEASE, count_attempt=True)
    asking.ask(classifier=classifiers.remote()["nanogpt"], rows=rows, go_on=lambda: False)
    assert calls == [4, 1]
    left = Classification.objects.filter(status=Status.QUEUED)
    assert list(left.values_list("attempts", flat=True)) == [0, 0, 0]
    assert left.due().count() == 3


# --- What is sent ----------------------------------------------------------------------------------------------------
def test_the_stored_rendition_is_sent_as_it_is(make_asset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = store(make_asset, 1)
    sent: list[Any] = []

    def keep(self: Any, images: Any) -> Any:
        sent.extend(images)
        raise ProviderBusy("Later.")

    monkeypatch.setattr(client.NanoGpt, "classify", keep)
    run()
    with row.asset.rendition.open("rb") as file:
        assert sent == [(file.read(), f"image/{row.asset.image_type}")]


def test_only_an_image_too_large_for_a_call_is_made_smaller_and_the_record_says_so(make_asset: Any) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1100, 1400, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=0)
    asset = make_asset(file.getvalue())
    assert asset.size > 4_000_000
    run()
    row = asset.classifications.get()
    assert row.status == Status.DONE
    assert row.raw["altered"].startswith(f"1400 × 1100 {asset.image_type} sent as 1400 × 1100 jpeg")


def test_a_missing_file_is_no_verdict_and_holds_up_no_other_image(make_asset: Any) -> None:
    first, second = store(make_asset, 2)
    first.asset.rendition.storage.delete(first.asset.rendition.name)
    run()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.error) == (Status.FAILED, "The stored image is missing.")
    assert second.status == Status.DONE


def test_without_a_key_what_still_waits_goes_to_a_person(make_asset: Any, settings: Any, calls: list[int]) -> None:
    (row,) = store(make_asset, 1)
    settings.NANOGPT = None
    run()
    row.refresh_from_db()
    assert (row.status, calls) == (Status.FAILED, [])
    assert "NANOGPT_API_KEY is not set" in settled(row).why


def test_it_is_a_remote_classifier_and_can_be_asked_about_one_image(make_asset: Any) -> None:
    made = classifiers.remote()["nanogpt"]
    assert isinstance(made, RemoteClassifier)
    assert isinstance(made, classifier.NanoGptVerdict)
    assert list(classifiers.remote()) == ["nanogpt"]
    assert made.classify(make_asset(shown(NSFW))).flagged is True

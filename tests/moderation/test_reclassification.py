"""Running classifiers again: selection, estimate, rate, results, new findings, the command."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

import moderation.tasks
from moderation import classifiers
from moderation.classifiers.base import Assessment
from moderation.management.commands import reclassify as command
from moderation.models import Classification, Decision, NewFinding, Policy, Reclassification, Review
from moderation.services import classification, costs, reclassification
from tests.moderation.page_helpers import ClientOf, decide
from tests.moderation.reclassification_helpers import (
    MakeAsset,
    Steered,
    get_review,
    get_run,
    make_due,
    run_jobs,
    store,
    use_steered,
)

pytestmark = pytest.mark.django_db
NEW = "/reclassifications/new/"
LIST = "/reclassifications/"
Status = Classification.Status


@pytest.fixture(autouse=True)
def _steered(settings: Any) -> Iterator[None]:
    use_steered(settings)
    cache.clear()  # the day's costs are cached for 10 seconds, beyond one test
    yield
    Steered.results.clear()


@pytest.fixture
def browser(senior: User, client_of: ClientOf) -> Client:
    return client_of(senior)


def start(browser: Client, **data: Any) -> Any:
    return browser.post(NEW, {"per_minute": 6000, **data, "confirmed": 1})


def set_version(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(Steered, "version", version)


# --- Selection and results ---
def test_retry_of_failures_settles_the_waiting_image(
    make_asset: MakeAsset, browser: Client
) -> None:
    Policy.objects.update(approves_imports=True)
    failed, fine = store(make_asset, None), store(make_asset, 50)
    assert get_review(failed).risk == 100
    Steered.results[failed.pk] = 0

    answer = start(browser, scope="failed")
    run_jobs()

    assert answer.status_code == 303
    review, run = get_review(failed), get_run(failed)
    assert (run.status, run.error, review.status) == (Status.DONE, "", Review.Status.APPROVED)
    assert Decision.objects.get(review=review).by_policy
    assert (get_review(fine).status, get_run(fine).raw) == (Review.Status.PENDING, {})
    order = Reclassification.objects.get(scope="failed")
    assert (order.status, order.images, order.expected) == ("finished", 1, 1)
    assert "1 done" in browser.get(LIST).content.decode()


def test_rerun_of_one_image_keeps_its_earlier_result(
    make_asset: MakeAsset, browser: Client
) -> None:
    asset = store(make_asset, 50)
    Steered.results[asset.pk] = 95

    start(browser, scope="images", asset=str(asset.uuid))
    run_jobs()

    run = get_run(asset)
    (earlier,) = run.raw["earlier"]
    assert [int(label.confidence) for label in run.labels.all()] == [95]
    assert (earlier["status"], earlier["labels"]) == ("done", [["explicit", "50.00", None]])
    assert get_review(asset).status == Review.Status.REJECTED
    dossier = browser.get(f"/assets/{asset.uuid}/").content.decode()
    assert dossier.index("run again later") < dossier.index("Classifiers ordered to run again")

    start(browser, scope="images", asset=str(asset.uuid))
    run_jobs()
    assert len(get_run(asset).raw["earlier"]) == 2


def test_rerun_that_fails_leaves_the_image_to_a_person(
    make_asset: MakeAsset, browser: Client
) -> None:
    asset = store(make_asset, 50)
    Steered.results[asset.pk] = None

    start(browser, scope="images", asset=str(asset.uuid))
    run_jobs()

    review = get_review(asset)
    assert (review.status, review.risk) == (Review.Status.PENDING, 100)
    assert "The steered classifier fails." in review.reason
    assert get_run(asset).raw["earlier"][0]["labels"] == [["explicit", "50.00", None]]


def test_only_the_newest_version_of_a_classifier_counts(
    make_asset: MakeAsset, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Policy.objects.update(approves_imports=True)
    asset = store(make_asset, 50)
    set_version(monkeypatch, "2")
    Steered.results[asset.pk] = 0

    start(browser, scope="unseen")
    run_jobs()

    assert asset.classifications.count() == 2
    assert get_review(asset).status == Review.Status.APPROVED
    assert "There is nothing to run again." in start(browser, scope="unseen").content.decode()


def test_queue_reruns_only_its_images_without_a_result(
    make_asset: MakeAsset, browser: Client
) -> None:
    Policy.objects.update(approves_imports=True)
    waiting, approved = store(make_asset, None), store(make_asset, 0)
    page = browser.get("/queues/waiting/?risk=50").content.decode()
    assert "scope=queue&amp;queue=waiting%3Frisk%3D50" in page

    start(browser, scope="queue", queue="waiting?risk=50")
    moderation.tasks.reclassify()

    assert (get_run(waiting).status, get_run(approved).status) == (Status.QUEUED, Status.DONE)


def test_run_in_progress_is_not_queued_twice(make_asset: MakeAsset, browser: Client) -> None:
    asset = make_asset()
    (claimed,) = Classification.objects.claim(
        limit=1, lease=reclassification.LEASE, count_attempt=True
    )

    start(browser, scope="images", asset=str(asset.uuid))
    moderation.tasks.reclassify()

    run = get_run(asset)
    assert (run.lease, run.attempts, run.reclassification) == (claimed.lease, 1, None)


# --- Decided images ---
def test_new_finding_on_an_approved_image_is_listed_and_changes_no_decision(
    make_asset: MakeAsset, browser: Client, moderator: User, client_of: ClientOf
) -> None:
    asset, other = store(make_asset, 50), store(make_asset, 50)
    for each in (asset, other):
        review = get_review(each)
        assert review.claim_for(moderator)
        decide(client_of(moderator), review, "approve")
    Steered.results[asset.pk] = 95

    browser.post(NEW, {"scope": "images", "per_minute": 60, "confirmed": 1,
                       "asset": [str(asset.uuid), str(other.uuid)]})  # fmt: skip
    run_jobs()

    review = get_review(asset)
    assert review.status == Review.Status.APPROVED
    assert Decision.objects.filter(review=review).count() == 1
    assert [finding.review for finding in NewFinding.objects.all()] == [review]
    page = browser.get("/new-findings/").content.decode()
    assert "Steered found Explicit" in page
    assert asset.short_id in page
    assert other.short_id not in page
    desk = browser.get(review.get_absolute_url()).content.decode()
    assert 'value="95.00"' in desk

    browser.post(reverse("moderation:new-finding-check", args=[review.uuid]))
    assert asset.short_id not in browser.get("/new-findings/").content.decode().split("<main")[1]
    assert client_of(moderator).get("/new-findings/").status_code == 403


# --- Rate, resumption, cancellation, money ---
def test_steps_follow_the_rate_and_a_cancelled_order_stops(
    make_asset: MakeAsset, browser: Client
) -> None:
    assets = [store(make_asset, None) for _ in range(3)]
    start(browser, scope="failed", per_minute=8)

    moderation.tasks.reclassify()

    order = Reclassification.objects.get()
    queued = Classification.objects.filter(status=Status.QUEUED)
    assert (order.images, queued.count(), order.cursor) == (2, 2, assets[1].pk)
    assert 14 < (order.due_at - order.created_at).total_seconds() < 60
    moderation.tasks.reclassify()
    assert queued.count() == 2  # not due yet

    browser.post(reverse("moderation:reclassification-cancel", args=[order.uuid]))
    run_jobs()

    order.refresh_from_db()
    assert (order.status, order.images, get_run(assets[2]).raw) == ("cancelled", 2, {})
    again = browser.post(
        reverse("moderation:reclassification-cancel", args=[order.uuid]), follow=True
    )
    assert "This order has ended already." in again.content.decode()


def test_cancelled_order_shows_the_images_that_still_run(
    make_asset: MakeAsset, browser: Client
) -> None:
    asset = store(make_asset, 50)
    start(browser, scope="images", asset=str(asset.uuid))
    moderation.tasks.reclassify()

    order = Reclassification.objects.get()
    browser.post(f"{LIST}{order.uuid}/cancellation/")
    page = browser.get(LIST).content.decode()

    assert 'data-status="cancelled">Cancelled<' in page
    assert "1 scheduled before still runs." in page
    assert "those already scheduled are still classified, and billed" in page
    moderation.tasks.classify()
    assert "still runs." not in browser.get(LIST).content.decode()


def test_interrupted_step_is_repeated_and_schedules_no_image_twice(
    make_asset: MakeAsset, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = [store(make_asset, None) for _ in range(3)]
    start(browser, scope="failed")
    real, calls = reclassification._queue_again, []

    def die_at_second(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt  # as if the worker were stopped
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(reclassification, "_queue_again", die_at_second)
        with pytest.raises(KeyboardInterrupt):
            moderation.tasks.reclassify()
    assert not Classification.objects.filter(status=Status.QUEUED).exists()

    make_due()
    run_jobs()

    assert [len(get_run(asset).raw["earlier"]) for asset in assets] == [1, 1, 1]
    assert Reclassification.objects.get().images == 3


def test_order_waits_while_the_classifiers_are_behind(
    make_asset: MakeAsset, browser: Client
) -> None:
    for _ in range(7):
        store(make_asset, None)
    start(browser, scope="failed", per_minute=1)
    for _ in range(7):
        moderation.tasks.reclassify()
        make_due()

    order = Reclassification.objects.get()
    assert (order.images, order.note) == (reclassification.STEPS_AHEAD, reclassification.BACKLOG)

    run_jobs(10)
    order.refresh_from_db()
    assert (order.images, order.status, order.note) == (7, "finished", "")


def test_spending_limit_delays_the_order_until_tomorrow(
    make_asset: MakeAsset, browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steered, "cost", Decimal("0.01"))
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.02")
    assets = [store(make_asset, 50) for _ in range(2)]

    start(browser, scope="images", asset=[str(asset.uuid) for asset in assets])
    run_jobs()

    order = Reclassification.objects.get()
    assert (order.status, order.images) == ("running", 0)
    assert order.note.startswith("The spending limit of 0.02 USD per day is reached")
    page = browser.get(LIST).content.decode()
    assert "The spending limit" in page
    assert ">Waiting</span>" in page  # nothing runs before tomorrow
    assert all("earlier" not in get_run(asset).raw for asset in assets)

    settings.SPENDING_LIMIT_PER_DAY = Decimal(1)
    make_due()
    run_jobs()
    order.refresh_from_db()
    assert (order.status, order.images) == ("finished", 2)


def test_limit_counts_what_was_spent_on_images_that_run_again(
    make_asset: MakeAsset, browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steered, "cost", Decimal("0.01"))
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.03")
    assets = [store(make_asset, 50) for _ in range(2)]

    start(browser, scope="images", asset=[str(asset.uuid) for asset in assets])
    for _ in range(3):
        cache.clear()  # the sum of the day is kept for seconds
        moderation.tasks.reclassify()
        make_due()

    order = Reclassification.objects.get()
    assert (order.images, order.note[:18]) == (1, "The spending limit")


def test_limit_counts_images_that_are_queued_besides_the_order(
    make_asset: MakeAsset, browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steered, "cost", Decimal("0.01"))
    settings.SPENDING_LIMIT_PER_DAY = Decimal("0.02")
    asset = store(make_asset, 50)
    make_asset()  # its classification is queued

    start(browser, scope="images", asset=str(asset.uuid))
    moderation.tasks.reclassify()

    assert Reclassification.objects.get().note.startswith("The spending limit")


def test_price_of_an_image_does_not_grow_with_its_reruns(
    make_asset: MakeAsset, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steered, "cost", Decimal("0.01"))
    again, _ = store(make_asset, 50), store(make_asset, 50)

    start(browser, scope="images", asset=str(again.uuid))
    run_jobs()

    assert get_run(again).cost == Decimal("0.02")  # both calls were paid
    assert costs.find_price("steered").usd == Decimal("0.01")


def test_two_clicks_start_one_order(make_asset: MakeAsset, browser: Client) -> None:
    asset = store(make_asset, 50)
    page = browser.get(f"{NEW}?scope=images&asset={asset.uuid}").content.decode()
    (offered,) = re.findall(r'name="order" value="([^"]+)"', page)

    answers = [
        start(browser, scope="images", asset=str(asset.uuid), order=offered) for _ in range(2)
    ]
    run_jobs()

    assert [answer.status_code for answer in answers] == [303, 303]
    assert str(Reclassification.objects.get().uuid) == offered
    assert len(get_run(asset).raw["earlier"]) == 1


def test_late_result_does_not_end_the_run_that_was_ordered_since(
    make_asset: MakeAsset, browser: Client
) -> None:
    asset = make_asset()
    late = get_run(asset)  # claimed by a worker that hangs until its lease has ended
    moderation.tasks.classify()
    start(browser, scope="images", asset=str(asset.uuid))
    moderation.tasks.reclassify()

    late_result = Assessment(cost=Decimal("0.5"))
    classification.store_result(late, late_result, duration_ms=1)

    run = get_run(asset)
    assert (run.status, len(run.raw["earlier"])) == (Status.QUEUED, 1)
    assert run.cost == Decimal("0.5")  # spent, although the result is not used


# --- The page ---
def test_page_shows_the_cost_before_anything_starts(
    make_asset: MakeAsset, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steered, "cost", Decimal("0.5"))
    asset = store(make_asset, 50)
    address = f"{NEW}?scope=images&asset={asset.uuid}"
    assert f'href="{address.replace("&", "&amp;")}"' in (
        browser.get(get_review(asset).get_absolute_url()).content.decode()
    )

    page = browser.get(address).content.decode()
    unconfirmed = browser.post(NEW, {"scope": "images", "asset": asset.uuid, "per_minute": 60})

    assert "<strong>" in page
    assert "0.50</span> USD" in page
    assert unconfirmed.status_code == 200
    assert not Reclassification.objects.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"scope": "images"}, "Choose at least one image."),
        ({"scope": "images", "asset": "nonsense"}, "is not the identifier of an image."),
        (
            {"scope": "images", "asset": "01234567-89ab-4def-8123-456789abcdef"},
            "There is no image 01234567-89ab-4def-8123-456789abcdef.",
        ),
        ({"scope": "queue", "queue": "mine"}, "Choose one of: waiting, escalated."),
        ({"scope": "everything"}, "Select a valid choice."),
        ({"scope": "failed", "classifiers": "novita"}, "Select a valid choice."),
        ({"scope": "failed", "per_minute": "0"}, "greater than or equal to 1"),
        ({"scope": "failed"}, "There is nothing to run again."),
    ],
)
def test_impossible_order_returns_422_with_a_message(
    browser: Client, data: dict[str, str], message: str
) -> None:
    answer = start(browser, **data)

    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert not Reclassification.objects.exists()


def test_estimate_of_many_images_is_scaled_from_the_first(
    make_asset: MakeAsset, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        store(make_asset, None)
    monkeypatch.setattr(reclassification, "READ_AT_ONCE", 1)
    monkeypatch.setattr(reclassification, "ESTIMATED", 2)

    page = browser.get(f"{NEW}?scope=failed&per_minute=2").content.decode()

    assert "from the first images" in page
    assert '<span class="num">3</span> images' in page
    assert '<span class="num">2</span> minutes' in page


def test_moderator_gets_no_link_and_403(
    make_asset: MakeAsset, moderator: User, client_of: ClientOf
) -> None:
    asset, browser = store(make_asset, 50), client_of(moderator)

    assert NEW not in browser.get(get_review(asset).get_absolute_url()).content.decode()
    assert start(browser, scope="images", asset=str(asset.uuid)).status_code == 403


def test_admin_action_leads_to_the_estimate(
    make_asset: MakeAsset, lead: User, auditor: User, client_of: ClientOf
) -> None:
    asset = store(make_asset, None)
    chosen = {"action": "run_again", "_selected_action": [get_run(asset).pk]}
    page = "/admin/moderation/classification/"

    answer = client_of(lead).post(page, chosen, follow=True)

    assert "1 chosen image" in answer.content.decode()
    assert "run_again" not in client_of(auditor).get(page).content.decode()


# --- The command ---
def run_command(*args: str) -> str:
    out = io.StringIO()
    call_command("reclassify", *args, stdout=out)
    return out.getvalue()


def test_dry_run_prints_the_estimate_and_starts_nothing(make_asset: MakeAsset) -> None:
    store(make_asset, None)

    printed = run_command("--failed", "--dry-run", "--per-minute", "30")

    assert "1 images, 0.00 USD, 1 minutes at 30 images per minute" in printed
    assert "Steered: 1" in printed
    assert not Reclassification.objects.exists()


def test_command_starts_only_after_a_yes(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = store(make_asset, 50)
    monkeypatch.setattr("builtins.input", lambda *args: "n")
    with pytest.raises(CommandError, match="Nothing was started"):
        run_command("--asset", str(asset.uuid))

    monkeypatch.setattr("builtins.input", lambda *args: "y")
    run_command("--asset", str(asset.uuid))

    assert Reclassification.objects.get().target == [str(asset.uuid)]


def test_command_reports_the_progress_until_the_end(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        Steered.results[store(make_asset, None).pk] = 0
    monkeypatch.setattr(command.time, "sleep", lambda seconds: run_jobs(1))

    printed = run_command("--failed", "--classifier", "steered", "--yes", "--wait")

    assert "0 of 2 images; runs: none" in printed
    assert printed.endswith("2 of 2 images; runs: 2 done\nFinished.\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--queue", "mine"], "Choose one of: waiting, escalated."),
        (["--failed", "--classifier", "nothing"], "no classifier in use called nothing."),
        (["--failed", "--per-minute", "0"], "must be at least 1"),
        (["--asset", "x"], "'x' is not the identifier of an image."),
    ],
)
def test_command_explains_impossible_orders(args: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run_command(*args, "--yes")


def test_steered_classifier_is_the_one_in_use() -> None:
    assert [one.slug for one in classifiers.active()] == ["steered"]

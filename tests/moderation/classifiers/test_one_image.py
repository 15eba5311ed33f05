"""The base of classifiers that judge one image per call: rounds, errors, outages and costs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from generation.models import Asset
from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    UnansweredError,
)
from moderation import classifiers
from moderation.classifiers.base import Assessment, RemoteClassifier, ServiceBusyError
from moderation.classifiers.one_image import CALLS_AT_ONCE, OneImageClassifier
from moderation.models import Classification
from tests.moderation.classifiers.nanogpt.helpers import (
    get_pending_review,
    is_nothing_approved,
    make_classifications_due,
    make_image,
    run_remote_classification,
)

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status
PRICE = Decimal("0.001")


class Service:
    """Stands for an external service: answers by the position of the call."""

    def __init__(self) -> None:
        self.calls = 0
        self.sent: list[tuple[int, str]] = []
        self.threads: set[int] = set()
        self.lock = threading.Lock()
        self.error: Callable[[int], Exception | None] = lambda call: None

    def answer(self, content: bytes, media_type: str) -> None:
        with self.lock:
            self.calls += 1
            call = self.calls
            self.sent.append((len(content), media_type))
            self.threads.add(threading.get_ident())
        if error := self.error(call):
            raise error


SERVICE = Service()


class Scripted(OneImageClassifier):
    slug, version, label = "one-image", "1", "Scripted"
    trusted_when_silent = False
    price = PRICE
    setting_names = "SCRIPTED_KEY"

    def explain_off(self) -> str:
        return ""

    def accepts(self, content: bytes, media_type: str) -> bool:
        return media_type == "image/jpeg"

    def _judge(self, asset: Asset, content: bytes, media_type: str) -> Assessment:
        SERVICE.answer(content, media_type)
        return Assessment(flagged=True, cost=PRICE)


@pytest.fixture(autouse=True)
def service(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    settings.CLASSIFIERS = ["one-image"]
    settings.CLASSIFIER_BACKENDS = {"one-image": f"{__name__}.Scripted"}
    classifiers.get.cache_clear()
    made = Service()
    monkeypatch.setattr(f"{__name__}.SERVICE", made)
    return made


@pytest.fixture
def rows(make_asset: Any) -> Callable[[int], list[Classification]]:
    def store(count: int) -> list[Classification]:
        assets = [make_asset(make_image(seed=n)) for n in range(count)]
        return [asset.classifications.get() for asset in assets]

    return store


def test_unexpected_error_costs_one_image_its_result_and_no_other(
    rows: Any, service: Service
) -> None:
    service.error = lambda call: KeyError("surprise") if call == 1 else None
    stored = rows(3)
    run_remote_classification()
    make_classifications_due()
    run_remote_classification()
    assert service.calls == len(stored)
    for row in stored:
        row.refresh_from_db()
    assert sorted(row.status for row in stored) == [Status.DONE, Status.DONE, Status.FAILED]
    (failed,) = [row for row in stored if row.status == Status.FAILED]
    assert failed.cost == PRICE  # the call may have been billed
    assert "Scripted could not judge it (KeyError)" in get_pending_review(failed).reason


def test_images_are_reencoded_and_judged_in_threads(rows: Any, service: Service) -> None:
    stored = rows(CALLS_AT_ONCE + 2)
    assert isinstance(classifiers.get("one-image"), RemoteClassifier)
    run_remote_classification()
    assert service.calls == len(stored)
    assert threading.get_ident() not in service.threads
    assert {media_type for _, media_type in service.sent} == {"image/jpeg"}
    for row in stored:
        row.refresh_from_db()
        assert (row.status, row.flagged, row.cost) == (Status.DONE, True, PRICE)
        assert row.raw["service"] == "Scripted"
        assert row.raw["altered"].startswith("256 × 192 png sent as 256 × 192 jpeg")


@pytest.mark.parametrize(
    ("error", "sentence", "cost"),
    [
        (ProviderMisconfiguredError("The key is wrong."), "Check SCRIPTED_KEY.", Decimal(0)),
        (ProviderRejectedError("It refused."), "It refused.", Decimal(0)),
        (InvalidAnswerError("It spoke in tongues."), "in tongues.", PRICE),
        (InvalidAnswerError("So it did.", cost=Decimal("0.5")), "So it did.", Decimal("0.5")),
    ],
)
def test_permanent_error_leaves_the_image_to_a_person(
    rows: Any, service: Service, error: ProviderError, sentence: str, cost: Decimal
) -> None:
    service.error = lambda call: error
    (row,) = rows(1)
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.flagged, row.cost) == (Status.FAILED, None, cost)
    assert sentence in get_pending_review(row).reason
    assert is_nothing_approved()


@pytest.mark.parametrize(
    "error",
    [
        ServerFailedError("It failed."),
        UnansweredError("It did not answer."),
        ProviderBusyError("It could not be reached.", retry_after=60),
        ProviderBusyError("Too many.", limited=True),
    ],
)
def test_outage_ends_after_one_round_and_costs_only_unanswered_calls(
    rows: Any, service: Service, error: ProviderError
) -> None:
    service.error = lambda call: error
    stored = rows(CALLS_AT_ONCE + 5)
    run_remote_classification()
    assert service.calls == CALLS_AT_ONCE
    for position, row in enumerate(stored):
        row.refresh_from_db()
        asked = position < CALLS_AT_ONCE
        billed = isinstance(error, UnansweredError) and asked
        assert (row.status, row.attempts) == (Status.QUEUED, 1)
        assert row.cost == (PRICE if billed else 0)
        assert row.error == str(error)

    service.error = lambda call: None
    make_classifications_due()
    run_remote_classification()
    assert Classification.objects.filter(status=Status.DONE).count() == len(stored)


def test_one_failed_call_delays_only_its_image(rows: Any, service: Service) -> None:
    service.error = lambda call: ServerFailedError("It failed.") if call == 2 else None
    rows(CALLS_AT_ONCE + 3)
    run_remote_classification()
    assert Classification.objects.filter(status=Status.QUEUED, attempts=1).count() == 1
    assert Classification.objects.filter(status=Status.DONE).count() == CALLS_AT_ONCE + 2


@pytest.mark.parametrize(
    "limit", [ProviderBusyError("Too many.", limited=True), UnansweredError("It did not answer.")]
)
def test_rate_limit_or_late_answer_halves_the_calls_at_a_time(
    make_asset: Any, service: Service, limit: ProviderError
) -> None:
    made = Scripted()
    assets = [make_asset(make_image(seed=n)) for n in range(16)]
    service.error = lambda call: limit if call == 1 else None
    assert [len(outcomes) for outcomes in made.classify_many(assets)] == [8, 4, 4]
    assert [len(outcomes) for outcomes in made.classify_many(assets)] == [6, 7, 3]


def test_single_refusals_for_too_many_calls_are_no_outage(
    make_asset: Any, service: Service
) -> None:
    made = Scripted()
    limit = ProviderBusyError("Too many.", limited=True)
    service.error = lambda call: limit if call < 3 else None
    for seed in range(2):
        (outcomes,) = made.classify_many([make_asset(make_image(seed=seed))])
        assert isinstance(outcomes[0][1], ServiceBusyError)
        assert not outcomes[0][1].down
    service.error = lambda call: limit
    downs = [
        [outcome.down for _, outcome in outcomes if isinstance(outcome, ServiceBusyError)]
        for outcomes in made.classify_many([make_asset(make_image(seed=n)) for n in (8, 9)])
    ]
    assert downs == [[False, True]] or downs == [[True, False]]


def test_missing_file_is_no_outage(rows: Any, service: Service) -> None:
    stored = rows(2)
    stored[0].asset.rendition.storage.delete(stored[0].asset.rendition.name)
    run_remote_classification()
    for row in stored:
        row.refresh_from_db()
    assert (stored[0].status, stored[0].error) == (Status.FAILED, "The stored image is missing.")
    assert stored[1].status == Status.DONE
    assert service.calls == 1

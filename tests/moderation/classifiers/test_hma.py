"""The look-up at Hasher-Matcher-Actioner over a socket: from stored image to review, and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import Asset, Source
from generation.wire.hma import BankMatch
from moderation import classifiers
from moderation.classifiers.base import RemoteClassifier
from moderation.classifiers.hma import assess
from moderation.models import Classification, Policy
from moderation.services import remote_classification
from tests.conftest import picture
from tests.moderation.classifiers.nanogpt.helpers import (
    get_pending_review,
    is_nothing_approved,
    make_classifications_due,
    run_remote_classification,
)
from tests.moderation.page_helpers import get_review_url

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status


@pytest.fixture(autouse=True)
def key(live_server: Any, settings: Any) -> Callable[[str], None]:
    """Use the sandbox over a socket; return a function that selects a behaviour."""
    settings.CLASSIFIERS = ["hma"]
    classifiers.get.cache_clear()  # an instance remembers the failures of earlier tests
    settings.HMA = {**settings.HMA, "base_url": f"{live_server.url}/sandbox/hma"}

    def use(value: str) -> None:
        settings.HMA = {**settings.HMA, "api_key": value}

    return use


@pytest.fixture
def store(make_asset: Any, make_request: Any) -> Callable[[], Asset]:
    """Return a function that stores a generated image."""
    seeds = iter(range(1000))

    def store() -> Asset:
        content = picture(next(seeds))
        found: Asset = make_asset(
            content, source=Source.TXT2IMG, request=make_request(), position=0
        )
        assert found.pdq_quality >= 50
        return found

    return store


def run(asset: Asset) -> Classification:
    run_remote_classification()
    return asset.classifications.get()


def test_match_goes_to_a_person_with_bank_and_content(
    store: Callable[[], Asset], key: Any, client_of: Callable[[User], Client], moderator: User
) -> None:
    key("sandbox-match")
    row = run(store())
    content = int(bytes(row.asset.pdq).hex()[-4:], 16)

    assert (row.status, row.flagged, row.cost) == (Status.DONE, True, 0)
    review = get_pending_review(row)
    text = (
        "In the bank “SANDBOX_BANK” of Hasher-Matcher-Actioner (sandbox)"
        f" (content {content}, 0 of 256 bits differ)"
    )
    assert text in review.reason
    page = client_of(moderator).get(get_review_url(review)).content.decode()
    assert text in page.split(">Known images</h2>")[1].split("</section>")[0]


def test_silence_is_no_judgement(store: Callable[[], Asset], key: Any) -> None:
    """Even a policy without rules approves nothing that was only looked up."""
    policy = Policy.objects.active()
    policy.rules.all().delete()
    Policy.objects.update(trusted_silences=["hma"])
    key("sandbox-other")
    asset = store()
    Asset.objects.filter(pk=asset.pk).update(pdq=b"\x01" * 32)

    row = run(asset)

    assert (row.status, row.flagged) == (Status.DONE, False)
    assert "matches" not in row.raw
    assert "No classifier could classify it." in get_pending_review(row).reason
    assert is_nothing_approved()


def test_only_named_banks_count(settings: Any) -> None:
    settings.HMA_BANKS = ["TERROR"]
    found = [BankMatch(bank="SPAM", content_id=1), BankMatch(bank="TERROR", content_id=2)]

    assessment = assess(found, "HMA")

    assert assessment.note == "In the bank “TERROR” of HMA (content 2)."
    assert [match["bank"] for match in assessment.raw["found"]] == ["SPAM", "TERROR"]
    assert assess(found[:1], "HMA").flagged is False


def test_names_of_banks_alone_are_a_match(store: Callable[[], Asset], key: Any) -> None:
    key("sandbox-names")
    asset = store()
    Asset.objects.filter(pk=asset.pk).update(pdq=b"\xff" * 32)

    row = run(asset)

    assert row.flagged
    assert "In the bank “SANDBOX_BANK” of" in get_pending_review(row).reason


def test_image_without_a_reliable_hash_is_not_looked_up(
    make_asset: Any, make_request: Any, store: Callable[[], Asset]
) -> None:
    made = classifiers.remote()["hma"]
    assert isinstance(made, RemoteClassifier)
    asset = store()
    assert made.applies_to(asset)
    asset.pdq_quality = 49
    assert not made.applies_to(asset)
    asset.pdq = None
    assert not made.applies_to(asset)


def test_file_is_not_read(store: Callable[[], Asset], key: Any) -> None:
    key("sandbox-match")
    asset = store()
    asset.rendition.storage.delete(asset.rendition.name)

    assert run(asset).flagged


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("invalid", "Check HMA_BASE_URL and HMA_API_KEY."),
        ("sandbox-404", "HMA_BASE_URL"),
        ("sandbox-redirect", "HMA_BASE_URL"),
        ("sandbox-disabled", "is not enabled"),
        ("sandbox-html", "not in a way that can be read"),
        ("sandbox-half", "not in a way that can be read"),
        ("sandbox-ids", "not in a way that can be read"),
    ],
)
def test_permanent_error_leaves_review_pending_at_once(
    store: Callable[[], Asset], key: Any, kind: str, sentence: str
) -> None:
    key(kind)
    row = run(store())

    assert (row.status, row.flagged) == (Status.FAILED, None)
    assert sentence in row.error
    assert f"could not judge it: {row.error}" in get_pending_review(row).reason


def test_outage_is_retried_then_review_is_pending(store: Callable[[], Asset], key: Any) -> None:
    key("sandbox-503")
    asset = store()
    for _ in range(remote_classification.ATTEMPTS - 1):
        assert run(asset).status == Status.QUEUED
        make_classifications_due()
    row = run(asset)

    assert row.status == Status.FAILED
    assert "index not yet ready" in row.error
    assert "asked 9 times" in get_pending_review(row).reason


def test_image_is_looked_up_after_the_outage(store: Callable[[], Asset], key: Any) -> None:
    key("sandbox-flaky")
    asset = store()
    for _ in range(3):
        run(asset)
        make_classifications_due()

    assert asset.classifications.get().status == Status.DONE


def test_without_a_server_queued_images_go_to_a_person(
    store: Callable[[], Asset], settings: Any
) -> None:
    asset = store()
    settings.HMA = None

    assert "HMA_BASE_URL is not set" in get_pending_review(run(asset)).reason

"""Every fault of every simulated remote classifier: the image ends at a person, with its reason.

The faults are read from the sandbox, so that a new one is tested too. The policy approves whatever
it may: only the fault keeps the image from an approval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from generation.models import Asset, Source
from generation.providers import chat, http
from generation.sandbox import hma, nanogpt, openai, rekognition, vlm
from moderation import classifiers, taxonomy
from moderation.models import Classification, Policy, Review
from moderation.services import policies, remote_classification
from tests.conftest import picture
from tests.moderation.classifiers.nanogpt.helpers import (
    NSFW,
    get_pending_review,
    is_nothing_approved,
    make_classifications_due,
    make_image,
    run_remote_classification,
)

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status
# Slug → setting, its field with the key, and the path of the simulated service.
SERVICES = {
    "rekognition": ("REKOGNITION", "access_key_id", "/sandbox/rekognition"),
    "openai": ("OPENAI", "api_key", "/sandbox/openai/v1"),
    "vlm": ("VLM", "api_key", "/sandbox/vlm/v1"),
    "nanogpt": ("NANOGPT", "api_key", "/sandbox/nano-gpt"),
    "hma": ("HMA", "api_key", "/sandbox/hma"),
}
ALWAYS = {"html": None, "half": None, "hang": None}
FAULTS: dict[str, dict[str, Any]] = {
    "rekognition": {**rekognition.REFUSALS, **rekognition.CHANGED, **ALWAYS},
    "openai": {**openai.REFUSALS, **openai.CHANGED, **ALWAYS},
    "vlm": {**vlm.REFUSALS, **vlm.ANSWERS, **vlm.TEXTS, **vlm.REPLIES, "no-format": None, **ALWAYS},
    "nanogpt": {**nanogpt.REFUSALS, **nanogpt.POLICY, **nanogpt.CHANGED, **ALWAYS},
    "hma": {**hma.REFUSALS, **hma.ANSWERS, **ALWAYS},
}
# Replies that can be read. Those that lower the coverage are tested beside their classifier.
READABLE = {
    "rekognition": {"illustrated", "version-8"},
    "openai": {"sexual-only"},
    "vlm": {"zeros", "fenced", "bare", "cost", "odd-cost"},
    "nanogpt": {"bare", "xno", "odd-cost"},
    "hma": set[str](),
}
# Faults that the classifier reports as a finding without a category.
FLAGS = {"unknown", "unknown-child", "addressed", "policy", "policy-object"}
CASES = [
    (slug, fault)
    for slug, faults in FAULTS.items()
    for fault in ("invalid", *faults)
    if fault not in READABLE[slug]
]


@pytest.fixture(autouse=True)
def _trusting_policy(db: None) -> None:
    """Put a policy into force that has no rules, counts every silence and accepts every gap."""
    policy = policies.create_version(
        based_on=Policy.objects.active(),
        user=None,
        rules={},
        nsfw_review_at=100,
        nsfw_reject_at=None,
        approves_imports=True,
        trusted_silences=list(SERVICES),
        accepted_unchecked=[category.slug for category in taxonomy.L1],
    )
    policies.activate(policy=policy, user=None)


@pytest.fixture
def behave(live_server: Any, settings: Any) -> Iterator[Callable[[str, str], None]]:
    """Return a function that selects a classifier and a behaviour of its simulated service."""

    def use(slug: str, behaviour: str) -> None:
        # A look-up alone never approves, so another classifier judges its images.
        settings.CLASSIFIERS = [slug, "rekognition"] if slug == "hma" else [slug]
        key = "invalid" if behaviour == "invalid" else f"sandbox-{behaviour}".removesuffix("-")
        for name, (setting, field, path) in SERVICES.items():
            value = {**getattr(settings, setting), "base_url": f"{live_server.url}{path}"}
            setattr(settings, setting, {**value, field: key} if name == slug else value)

    classifiers.get.cache_clear()
    chat._without_schema.clear()
    yield use
    classifiers.get.cache_clear()
    chat._without_schema.clear()


def run_until_done(row: Classification) -> None:
    for _ in range(remote_classification.ATTEMPTS):
        run_remote_classification()
        row.refresh_from_db()
        if row.status != Status.QUEUED:
            return
        make_classifications_due()


def store(make_asset: Any, make_request: Any, slug: str, content: bytes) -> Classification:
    asset: Asset = make_asset(content, source=Source.TXT2IMG, request=make_request(), position=0)
    return asset.classifications.get(classifier=slug)


@pytest.mark.parametrize("slug", SERVICES)
def test_image_without_a_fault_is_approved(
    make_asset: Any, make_request: Any, behave: Any, slug: str
) -> None:
    behave(slug, "")
    row = store(make_asset, make_request, slug, picture() if slug == "hma" else make_image())
    run_until_done(row)

    assert Review.objects.get(asset=row.asset_id).status == Review.Status.APPROVED


@pytest.mark.parametrize(("slug", "fault"), CASES)
def test_fault_ends_with_a_person_and_names_the_classifier(
    make_asset: Any,
    make_request: Any,
    behave: Any,
    monkeypatch: pytest.MonkeyPatch,
    slug: str,
    fault: str,
) -> None:
    monkeypatch.setattr(http, "SUBMIT_TIMEOUT", http.httpx.Timeout(0.2 if fault == "hang" else 30))
    monkeypatch.setattr(http, "READ_TIMEOUT", http.httpx.Timeout(0.2 if fault == "hang" else 30))
    monkeypatch.setattr("generation.sandbox.judging.HANGING", 0.3)
    behave(slug, fault)
    row = store(make_asset, make_request, slug, picture() if slug == "hma" else make_image(NSFW))
    run_until_done(row)

    assert row.status == (Status.DONE if fault in FLAGS else Status.FAILED)
    assert classifiers.label(slug) in get_pending_review(row).reason
    assert is_nothing_approved()

"""The table of the classifiers' results on the review page."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from generation.models import Asset, Source
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.models import Policy, PolicyRule, Review
from moderation.services import classification
from tests.moderation.page_helpers import ClientOf, get_review_url

Table = dict[str, list[str]]


@pytest.fixture
def asset(
    make_asset: Callable[..., Asset], make_request: Callable[..., Any], settings: Any
) -> Asset:
    """Create an asset that three classifiers must classify."""
    settings.CLASSIFIERS = ["sandbox", "local", "novita"]
    request = make_request(provider="novita-sandbox", enable_nsfw_detection=True)
    return make_asset(
        source=Source.TXT2IMG,
        request=request,
        position=0,
        detection_level=2,
        detection={"valid": True},
    )


def fetch_table(client: Client, review: Review) -> Table:
    """Return the texts for screen readers by row, and the head as row ""."""
    text = unescape(client.get(get_review_url(review)).content.decode())
    table = re.search(r'<div class="evidence.*?</table>', text, re.S)
    assert table
    rows: Table = {"": re.findall(r'<button class="about"[^>]*>([^<]+)', table[0])}
    for name, cells in re.findall(r'<th scope="row"[^>]*>([^<]+)(.*?)</tr>', table[0], re.S):
        rows[name.strip()] = re.findall(r'visually-hidden">([^<]+)</span>', cells)
    return rows


def test_matrix_tells_findings_limits_silence_blindness_and_failure_apart(
    client_of: ClientOf, asset: Asset, moderator: User
) -> None:
    PolicyRule.objects.update_or_create(
        policy=Policy.objects.active(),
        category="violence.weapons",
        defaults={"review_at": 40, "reject_at": 90},
    )
    runs = {run.classifier: run for run in asset.classifications.all()}
    classification.store_result(
        runs["local"],
        Assessment(
            findings=(Finding(category="violence.weapons", confidence=Decimal("71.25")),),
            covers={"violence": Coverage.FULL, "explicit": Coverage.PARTIAL},
        ),
        duration_ms=1,
    )
    classification.store_result(
        runs["sandbox"], Assessment(covers={"explicit": Coverage.FULL}), duration_ms=1
    )
    classification.handle_error(runs["novita"], ClassifierError("It was asleep."))
    review = Review.objects.get(asset=asset)

    table = fetch_table(client_of(moderator), review)

    at = {name.strip(): place for place, name in enumerate(table[""])}
    local, sandbox, novita = at["NudeNet"], at["Sandbox"], at["Novita"]
    weapons, explicit = table["Weapons"], table["Explicit"]
    assert weapons[local] == "71 of 100, review from 40, reject from 90"
    assert (weapons[sandbox], weapons[novita]) == ("cannot see it", "failed")
    assert explicit[sandbox] == "nothing found"
    assert explicit[local] == "nothing found, sees it in part"
    assert list(table)[1] == "Weapons", "found categories come first"


def test_score_follows_the_found_categories(
    client_of: ClientOf, asset: Asset, moderator: User
) -> None:
    runs = {run.classifier: run for run in asset.classifications.all()}
    weapons = Finding(category="violence.weapons", confidence=Decimal(94))
    for name, assessment in (
        ("sandbox", Assessment(findings=(weapons,))),
        ("local", Assessment()),
        ("novita", Assessment(score=Decimal(0))),
    ):
        classification.store_result(runs[name], assessment, duration_ms=1)

    table = fetch_table(client_of(moderator), Review.objects.get(asset=asset))

    assert list(table)[1:3] == ["Weapons", "NSFW score"]


def test_audit_shows_no_matrix(client_of: ClientOf, asset: Asset, moderator: User) -> None:
    """The results would suggest what the policy decided."""
    for run in asset.classifications.all():
        classification.store_result(run, Assessment(), duration_ms=1)
    review = Review.objects.get(asset=asset)
    client = client_of(moderator)
    assert 'class="evidence' in client.get(get_review_url(review)).content.decode()

    Review.objects.filter(pk=review.pk).update(
        status=Review.Status.APPROVED,
        second_opinion=Review.SecondOpinion.WANTED,
        decided_at=timezone.now(),
    )

    page = client.get(f"{get_review_url(review)}?queue=second-opinion").content.decode()
    assert 'class="evidence' not in page

"""New heads on stored embeddings."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

import moderation.tasks
from generation.models import Asset
from moderation.classifiers.base import ClassifierError
from moderation.models import Classification, Head, HeadRescoring, Review
from moderation.services import learning, rescoring
from tests.moderation.encoder_helpers import MeanColour
from tests.moderation.learned.house import WEAPONS, House, make_head

pytestmark = pytest.mark.django_db


def work() -> None:
    moderation.tasks.rescore()
    moderation.tasks.resettle()


def forbid_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: Any, picture: Any) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(MeanColour, "encode", encode)


@pytest.mark.usefixtures("approving_policy")
def test_promotion_sorts_waiting_images_without_reading_them(
    house: House, lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue, red = house.store(is_red=False), house.store(is_red=True)
    assert blue.risk == red.risk
    forbid_encoding(monkeypatch)

    learning.promote(head=make_head(), user=lead)
    work()

    red.refresh_from_db()
    blue.refresh_from_db()
    assert red.risk > 80
    assert red.top_category == WEAPONS
    assert blue.risk < 5
    assert not HeadRescoring.objects.due().exists()


@pytest.mark.usefixtures("approving_policy")
def test_retired_head_no_longer_counts_on_waiting_images(house: House, lead: User) -> None:
    head = make_head()
    learning.promote(head=head, user=lead)
    red = house.store(is_red=True)
    assert red.risk > 80

    learning.retire(head=head, user=lead)
    work()

    red.refresh_from_db()
    assert (red.risk, red.top_category) == (100, "")


@pytest.mark.usefixtures("approving_policy")
def test_set_of_heads_that_is_in_use_again_counts_again(house: House, lead: User) -> None:
    learning.promote(head=make_head(), user=lead)
    red = house.store(is_red=True)
    other = learning.promote(head=make_head(category="gambling"), user=lead)
    work()
    learning.retire(head=other, user=lead)
    work()

    newest = Classification.objects.current_for_asset(red.asset_id)
    assert [each["category"] for run in newest for each in run.raw["heads"]] == [WEAPONS]


def test_decided_images_keep_their_results(house: House, lead: User) -> None:
    review = house.store(is_red=True)
    house.judge(review, "approve")

    learning.promote(head=make_head(), user=lead)
    work()

    assert not Classification.objects.filter(asset=review.asset_id).exists()
    assert Review.objects.get(pk=review.pk).status == Review.Status.APPROVED


def test_rescoring_goes_on_where_it_was_interrupted(
    house: House, lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "BATCH", 1)
    for _ in range(3):
        house.store(is_red=True)
    learning.promote(head=make_head(), user=lead)
    turns = iter([True, False])

    rescoring.run_due(go_on=lambda: next(turns))
    assert Classification.objects.count() == 1
    moderation.tasks.rescore()

    assert Classification.objects.count() == 3


def test_rescoring_stores_nothing_while_the_classifier_is_off(
    house: House, lead: User, settings: Any
) -> None:
    house.store(is_red=True)
    settings.CLASSIFIERS = []

    learning.promote(head=make_head(), user=lead)
    moderation.tasks.rescore()

    assert not Classification.objects.exists()
    assert not HeadRescoring.objects.due().exists()


def test_command_counts_what_a_shadow_head_would_flag(house: House) -> None:
    reviews = [house.store(is_red=number == 1) for number in range(4)]
    head = make_head()
    out = StringIO()

    call_command("heads", "score", str(head.pk), stdout=out)

    assert "1 of 4 images" in out.getvalue()
    first = out.getvalue().splitlines()[1]
    assert str(Asset.objects.get(pk=reviews[1].asset_id).uuid) in first
    assert Classification.objects.filter(labels__isnull=False).count() == 0


def test_head_of_another_encoder_scores_nothing() -> None:
    head = make_head()
    Head.objects.update(encoder_version="another-1")
    head.refresh_from_db()

    with pytest.raises(ClassifierError, match="another encoder"):
        rescoring.score_library(head)

"""The command check_invariants finds what it is there to find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from generation.models import GenerationRequest, RemoteImage, RequestTransition
from moderation.models import ChainHead, Classification, Delivery, Review, Verdict
from moderation.services import decisions
from moderation.services.invariants import CHECKS, find_violations
from tests.generation.pipeline_helpers import ask
from tests.moderation.record_helpers import drop_triggers, without_triggers

pytestmark = pytest.mark.django_db
MakeReview = Callable[..., Review]
Request = GenerationRequest


def pretend(**fields: Any) -> None:
    """Change the only request as no code of Loupe would."""
    GenerationRequest.objects.update(**fields)


def lose_file() -> None:
    review = Review.objects.get()
    storages["assets"].delete(str(review.asset.rendition.name))


def move_head() -> None:
    with without_triggers():
        ChainHead.objects.update(sequence=5)


def add_image(**fields: Any) -> RemoteImage:
    return RemoteImage.objects.create(
        request=Request.objects.get(),
        position=0,
        expires_at=timezone.now(),
        **{"due_at": timezone.now(), **fields},
    )


def add_step(old: str, new: str) -> None:
    RequestTransition.objects.create(request=Request.objects.get(), old=old, new=new)


DAMAGES: dict[str, Callable[[], object]] = {
    "I2": lambda: pretend(due_at=None),
    "I3": lambda: pretend(status="processing", provider_task_id="t"),
    "I4": lambda: [add_step("queued", "submitting"), add_step("queued", "submitting")],
    "I5": lambda: pretend(status="unknown", error="Lost.", due_at=None),
    "I6": lambda: add_step("submitting", "queued"),
    "I7": lambda: pretend(due_at=timezone.now() - timedelta(hours=1)),
    "I8": lambda: add_image(status="stored", due_at=None),
    "I9": lambda: add_image(status="failed", due_at=None),
    "I10": lose_file,
    "I12": lambda: add_image(attempts=99),
    "I13": lambda: Classification.objects.create(
        asset=Review.objects.get().asset, classifier="x", version="1", status="done"
    ),
    "I15": lambda: Review.objects.update(
        claimed_by=User.objects.get(), claimed_until=timezone.now() + timedelta(days=1)
    ),
    "I16": lambda: Review.objects.update(status="rejected"),
    "I17": move_head,
    "I19": lambda: pretend(created_at=timezone.now() + timedelta(days=1)),
    "I20": drop_triggers,
}


@pytest.fixture
def content(make_review: MakeReview, moderator: User) -> Review:
    """Return a decided review, besides a queued request."""
    ask()
    review = make_review()
    decisions.claim(review=review, user=moderator)
    decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    return review


def test_command_reports_that_all_invariants_hold(content: Review) -> None:
    output = StringIO()
    call_command("check_invariants", stdout=output)

    assert output.getvalue().strip() == "20 invariants hold."
    assert list(CHECKS) == [f"I{number}" for number in range(1, 21)]


@pytest.mark.parametrize("number", DAMAGES)
def test_violation_is_reported_with_its_number(number: str, content: Review) -> None:
    DAMAGES[number]()

    assert number in {text.partition(":")[0] for text in find_violations()}
    with pytest.raises(CommandError, match=f"{number}: "):
        call_command("check_invariants")


def test_files_are_not_read_without_files(content: Review) -> None:
    lose_file()

    call_command("check_invariants", "--without-files", stdout=StringIO())


def test_event_without_a_due_date_is_reported(content: Review) -> None:
    Delivery.objects.create(request=Request.objects.get(), kind="finished")

    assert [text.partition(":")[0] for text in find_violations()] == ["I2"]

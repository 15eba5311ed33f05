"""Bugs put into the services on purpose. An invariant, a constraint or a test must notice each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

import generation.tasks
import moderation.tasks
from generation.core.db.state_machine import DueQuerySet, StateMachine
from generation.models import GenerationRequest
from generation.services import downloading, health, rates, storing, submitting
from moderation.classifiers.base import ClassifierError
from moderation.models import ChainHead
from moderation.policy_engine import Outcome
from moderation.services import audit_log, classification, decisions
from moderation.services.invariants import find_violations
from tests.conftest import picture
from tests.faults.recovery import assert_invariants, end_leases
from tests.faults.scenarios import Fetch, Submit, World
from tests.generation.pipeline_helpers import ask
from tests.generation.test_rates import (
    test_parallel_workers_take_no_more_tokens_than_available as check_rate_limit,
)

Status = GenerationRequest.Status


def do_nothing(*args: Any, **named: Any) -> None:
    """Stand for a step that somebody forgot."""


# Each seeds a bug, works with it, and returns what was noticed.
def resubmit_unknown_outcome(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    def queue_again(*, request: GenerationRequest, reason: str, what: str) -> None:
        request.move_to(Status.QUEUED, only_from=Status.SUBMITTING, due_at=timezone.now())

    patch.setattr(submitting, "mark_unknown", queue_again)
    patch.setattr(health, "pause_if_failing", do_nothing)
    scenario = Submit(world)
    scenario.request = ask(seed=next(world.numbers), prompt="a harbour sandbox:lost")
    for _ in range(2):
        end_leases()
        generation.tasks.submit()
    return find_violations() + scenario.check()


def forget_due_date_of_claim(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    claim = DueQuerySet.claim

    def claim_for_good(self: Any, **options: Any) -> list[Any]:
        rows = claim(self, **options)
        self.model.objects.filter(pk__in=[row.pk for row in rows]).update(due_at=None)
        return rows

    patch.setattr(DueQuerySet, "claim", claim_for_good)
    ask(seed=next(world.numbers))
    # The worker dies after its claim.
    GenerationRequest.objects.claim(limit=1, lease=timedelta(minutes=1))
    return find_violations()


def skip_history_of_request(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(GenerationRequest, "move_to", StateMachine.move_to)
    ask(seed=next(world.numbers))
    generation.tasks.submit()
    return find_violations()


def finish_image_without_asset(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    scenario = Fetch(world)
    scenario.prepare()
    patch.setattr(downloading, "store_rendition", do_nothing)
    generation.tasks.fetch()
    return find_violations()


def store_row_without_files(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(storing, "_write_files", do_nothing)
    patch.setattr(storing, "_write_again", do_nothing)
    # The files of other tests stay, so this image must be one that none of them has stored.
    world.make_review(content=picture(1, size=(163, 121)))
    return find_violations()


def decide_without_moving_head(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(audit_log, "_MOVE_HEAD", SimpleNamespace(update=do_nothing))
    world.decide()
    return find_violations()


def decide_on_head_that_was_not_locked(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    """Let a decision use the head that it read before another one was made."""
    head = ChainHead.objects.get(pk=1)
    world.decide()
    patch.setattr(audit_log, "lock_head", lambda: head)
    try:
        world.decide()
    except IntegrityError as error:
        return [f"refused: {error}"]
    return find_violations()


def decide_without_changing_review(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    patch.setattr(decisions, "_apply_decision", do_nothing)
    world.decide()
    return find_violations()


def approve_after_failed_classifier(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    """Take a classifier that answers nothing for one that finds nothing."""

    def fail(*args: Any) -> None:
        raise ClassifierError("No answer.", retryable=False)

    real = classification.settle
    patch.setattr(classification, "_assess", fail)
    patch.setattr(
        classification,
        "settle",
        lambda *args, **named: replace(real(*args, **named), outcome=Outcome.APPROVE),
    )
    world.make_asset()
    moderation.tasks.classify()
    return find_violations()


def take_tokens_without_comparing(world: World, patch: pytest.MonkeyPatch) -> list[str]:
    real = rates._write_if_unchanged

    def write(slug: str, old: rates.Bucket, **values: Any) -> bool:
        time.sleep(0.005)  # others read the same bucket meanwhile
        return real(slug, rates.read_bucket(slug), **values)

    patch.setattr(rates, "_write_if_unchanged", write)
    try:
        check_rate_limit()
    except AssertionError as error:
        return [f"test failed: {error}"]
    return []


BUGS: dict[Callable[[World, pytest.MonkeyPatch], list[str]], str] = {
    resubmit_unknown_outcome: "ended as queued",
    forget_due_date_of_claim: "I2",
    skip_history_of_request: "I3",
    finish_image_without_asset: "I8",
    store_row_without_files: "I10",
    approve_after_failed_classifier: "I14",
    decide_without_changing_review: "I16",
    decide_without_moving_head: "I17",
    decide_on_head_that_was_not_locked: "refused",
    take_tokens_without_comparing: "test failed",
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", BUGS, ids=lambda seed: seed.__name__)
def test_seeded_bug_is_noticed(
    seed: Callable[[World, pytest.MonkeyPatch], list[str]],
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    assert_invariants("before the bug")

    found = seed(world, monkeypatch)

    assert any(message.startswith(BUGS[seed]) for message in found), found
    record_property("seeded bugs", 1)

"""Random sequences of actions, faults and crashes over the services, against plain dicts.

The invariants are checked after every step. HYPOTHESIS_PROFILE=soak makes many long runs.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import generation.tasks
import moderation.tasks
from generation import fetching, imaging, providers
from generation.models import GenerationRequest, InvalidTransitionError
from generation.services import health, requests, webhooks
from moderation.models import Decision, Policy, Review, Verdict
from moderation.services import decisions, policies, reclassification
from moderation.services.invariants import find_violations
from tests.faults import scripted_provider
from tests.faults.crash import WRITE
from tests.faults.recovery import end_leases, run_until_quiet
from tests.faults.scripted_provider import BOOKS
from tests.moderation.reclassification_helpers import use_steered

IS_SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
PROFILE = settings(
    max_examples=100 if IS_SOAK else 8,
    stateful_step_count=60 if IS_SOAK else 25,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
JOBS = {
    job.name: job
    for job in (
        generation.tasks.submit,
        generation.tasks.reconcile,
        generation.tasks.poll,
        generation.tasks.fetch,
        moderation.tasks.classify,
        moderation.tasks.reclassify,
        moderation.tasks.resettle,
        moderation.tasks.count_decisions,
    )
}
jobs = st.sampled_from(sorted(JOBS))
FIELDS = {
    "model_name": "m",
    "prompt": "a harbour at dawn",
    "width": 128,
    "height": 128,
    "image_num": 2,
    "steps": 20,
    "guidance_scale": "7.5",
    "sampler_name": "Euler a",
    "response_image_type": "png",
}
# The clock of this process is moved, but defaults of columns read the real one.
BY_CLOCK = ("I7", "I15", "I19")


class Killed(BaseException):
    """The end of the process, as the job sees it."""


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """Let the n-th writing statement fail, and every later one, as in a dead process."""
    count = 0

    def execute(run: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal count
        count += bool(WRITE.match(sql))
        if count >= number:
            raise Killed
        return run(sql, *rest)

    try:
        with connection.execute_wrapper(execute):
            yield
    except Killed:
        pass


class Desk(RuleBasedStateMachine):
    """The model: presses, permitted submissions and confirmed decisions, as plain dicts."""

    people: ClassVar[list[User]]
    lead: ClassVar[User]
    clock: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.pressed: dict[uuid.UUID, uuid.UUID] = {}  # form → request
        self.seeds: dict[uuid.UUID, int] = {}
        self.permitted: dict[uuid.UUID, int] = {}  # submissions that people asked for
        self.confirmed: dict[uuid.UUID, str] = {}  # decisions
        BOOKS.answers.clear()
        BOOKS.expired = False
        # Rules may depend on nothing that an earlier run left behind.
        self.earlier_tasks = frozenset(BOOKS.tasks)

    @property
    def tasks(self) -> list[str]:
        """The provider's tasks of this run."""
        return [task_id for task_id in BOOKS.tasks if task_id not in self.earlier_tasks]

    # --- People ---
    @rule()
    def press(self) -> None:
        form, seed = uuid.uuid4(), secrets.randbelow(2**31)
        request, is_new = self._press(form, seed)
        assert is_new
        self.pressed[form], self.seeds[request.uuid] = request.uuid, seed
        self.permitted[request.uuid] = 1

    @precondition(lambda self: self.pressed)
    @rule(data=st.data())
    def press_again(self, data: Any) -> None:
        form = data.draw(st.sampled_from(list(self.pressed)))
        request, is_new = self._press(form, 0)
        assert (request.uuid, is_new) == (self.pressed[form], False)

    def _press(self, form: uuid.UUID, seed: int) -> tuple[GenerationRequest, bool]:
        return requests.create_request(
            user=None, provider="scripted", fields={**FIELDS, "seed": seed}, form_token=form
        )

    @precondition(lambda self: self.pressed)
    @rule(data=st.data())
    def send_again(self, data: Any) -> None:
        """Send a request of unknown or failed outcome again, which may cost twice."""
        request = GenerationRequest.objects.get(
            uuid=data.draw(st.sampled_from(list(self.permitted)))
        )
        try:
            requests.retry_request(request=request)
        except InvalidTransitionError:
            return
        self.permitted[request.uuid] += 1

    @rule(
        person=st.integers(0, 1),
        verdict=st.sampled_from([Verdict.APPROVE, Verdict.REJECT, Verdict.ESCALATE]),
    )
    def claim_and_decide(self, person: int, verdict: Verdict) -> None:
        review = Review.objects.filter(status=Review.Status.PENDING).first()
        if review is None:
            return
        try:
            decisions.claim(review=review, user=self.people[person])
            self._decide(review, self.people[person], verdict)
        except decisions.ConflictError:
            return
        self.decide_stale(review, self.people[1 - person])

    def decide_stale(self, review: Review, other: User) -> None:
        """Decide from the page of a second person, which is out of date."""
        with pytest.raises(decisions.DecisionError):
            self._decide(review, other, Verdict.APPROVE)

    def _decide(self, review: Review, user: User, verdict: Verdict) -> None:
        categories = ["gambling"] if verdict == Verdict.REJECT else []
        made = decisions.decide(review=review, user=user, verdict=verdict, categories=categories)
        self.confirmed[made.uuid] = made.hash

    @precondition(lambda self: self.confirmed)
    @rule(data=st.data())
    def reverse(self, data: Any) -> None:
        row = Decision.objects.get(uuid=data.draw(st.sampled_from(list(self.confirmed))))
        try:
            made = decisions.reverse(decision=row, user=row.reviewer, note="Why not")
        except decisions.DecisionError:
            return
        self.confirmed[made.uuid] = made.hash

    @rule()
    def change_policy(self) -> None:
        draft = policies.create_version(based_on=Policy.objects.active(), user=self.lead)
        policies.activate(policy=draft, user=self.lead)
        reclassification.order_resettlement(user=self.lead)

    # --- Workers ---
    @rule(name=jobs)
    def deliver(self, name: str) -> None:
        JOBS[name]()

    @rule(name=jobs)
    def deliver_twice(self, name: str) -> None:
        JOBS[name]()
        JOBS[name]()

    @rule()
    def drop_queue(self) -> None:
        OrmQ.objects.all().delete()

    @rule(name=jobs, number=st.integers(1, 12))
    def crash(self, name: str, number: int) -> None:
        with killed_at(number):
            JOBS[name]()
        assert not connection.in_atomic_block
        end_leases()

    @rule(answer=st.sampled_from(["accept", "lost", "500", "busy"]))
    def choose_answer(self, answer: str) -> None:
        BOOKS.answers.append(answer)

    @rule()
    def expire_urls(self) -> None:
        BOOKS.expired = True

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), kind=st.sampled_from(["true", "twice", "forged", "foreign"]))
    def webhook(self, data: Any, kind: str) -> None:
        task_id = data.draw(st.sampled_from(self.tasks))
        secret = BOOKS.tasks[task_id].webhook_url.rpartition("/")[2]
        if kind == "forged":
            secret = secrets.token_urlsafe(32)
        if kind == "foreign":
            task_id = f"task-{len(BOOKS.tasks) + 1000}"
        body = json.dumps(
            {"event_type": "ASYNC_TASK_RESULT", "payload": {"task": {"task_id": task_id}}}
        ).encode()
        for _ in range(2 if kind == "twice" else 1):
            webhooks.receive_call(secret=secret, body=body)

    @rule(hours=st.sampled_from([-24, -1, 0.02, 1, 24]))
    def move_clock(self, hours: float) -> None:
        self.clock.offset += timedelta(hours=hours)

    # --- What always holds ---
    @invariant()
    def invariants_hold(self) -> None:
        found = [
            text for text in find_violations(files=False) if text.partition(":")[0] not in BY_CLOCK
        ]
        assert not found, found

    @invariant()
    def nothing_is_sent_without_a_press(self) -> None:
        for request, seed in self.seeds.items():
            assert BOOKS.count(seed) <= self.permitted[request]

    @invariant()
    def confirmed_decisions_stay(self) -> None:
        rows = Decision.objects.filter(uuid__in=self.confirmed)
        assert dict(rows.values_list("uuid", "hash")) == self.confirmed

    def teardown(self) -> None:
        """Let everything end: no request is lost, and every billed task is known or unknown."""
        BOOKS.answers.clear()
        BOOKS.expired = False
        self.clock.offset = timedelta(0)
        run_until_quiet()
        ends = {*GenerationRequest.FINISHED, GenerationRequest.Status.UNKNOWN}
        rows = list(GenerationRequest.objects.filter(uuid__in=self.seeds))
        assert len(rows) == len(self.pressed)
        assert [row.status for row in rows if row.status not in ends] == []
        for row in rows:
            if row.status == "succeeded":
                assert BOOKS.count(row.seed) >= 1
        assert find_violations() == []


class _Clock:
    def __init__(self) -> None:
        self.real, self.offset = timezone.now, timedelta(0)

    def __call__(self) -> Any:
        return self.real() + self.offset


@pytest.mark.django_db(transaction=True)
def test_random_actions_and_crashes_keep_all_invariants(
    moderator: User,
    other_moderator: User,
    lead: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.IMAGE_PROVIDERS = {
        "scripted": {
            "BACKEND": "tests.faults.scripted_provider.ScriptedProvider",
            "OPTIONS": {"label": "Scripted"},
            "webhooks": True,
            "image_price": 1,
        }
    }
    settings.ENCODER = ""
    use_steered(settings)
    providers.get_provider.cache_clear()
    clock = _Clock()
    monkeypatch.setattr(timezone, "now", clock)
    monkeypatch.setattr(fetching, "fetch", scripted_provider.fetch)
    monkeypatch.setattr(imaging, "render", functools.lru_cache(256)(imaging.render))
    monkeypatch.setattr(health, "pause_if_failing", lambda *args, **named: None)
    BOOKS.tasks.clear()
    Desk.people, Desk.lead, Desk.clock = [moderator, other_moderator], lead, clock
    try:
        run_state_machine_as_test(Desk, settings=PROFILE)
    finally:
        providers.get_provider.cache_clear()
        monkeypatch.undo()

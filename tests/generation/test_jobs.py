"""Bells and slots: at most one message on its way, at most ``slots`` runs, and no caller that pays
for it.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ

from generation import jobs
from generation.jobs import Job, JobRun
from generation.models import JobSlot
from tests.config.sample_jobs import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _only_these_pumps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        jobs, "REGISTRY", {each.name: each for each in (tasks.stamp, tasks.hold, tasks.broken)}
    )


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to the queue, whichever queue is configured."""
    paths: list[str] = []
    monkeypatch.setattr(jobs, "async_task", lambda path, **options: paths.append(path))
    return paths


def counting(name: str, runs: list[JobRun], *, slots: int = 1) -> Job:
    return Job(runs.append, name=name, due=lambda: False, slots=slots, time_limit=1)


def test_two_ticks_send_one_message(sent: list[str]) -> None:
    Group.objects.create(name="new letter")

    assert jobs.tick() == ["stamp"]
    assert jobs.tick() == []
    assert sent == ["tests.config.sample_jobs.tasks.stamp"]


def test_a_message_reaches_the_queue_and_its_run_clears_the_bell() -> None:
    Group.objects.create(name="new letter")
    jobs.tick()
    tasks.stamp()

    assert not tasks.stamp.is_due()
    assert JobSlot.objects.get(name="stamp", host="").wanted_at is None
    assert JobSlot.objects.get(name="stamp", host=jobs.HOST).running_until is None


def test_an_idle_tick_is_one_query_and_one_for_each_pump_that_answers_with_a_bool(
    sent: list[str], django_assert_num_queries
) -> None:
    jobs.tick()
    with django_assert_num_queries(1 + 1):
        assert jobs.tick() == []


def test_a_message_that_nobody_started_in_time_counts_as_lost(sent: list[str]) -> None:
    Group.objects.create(name="new letter")
    jobs.tick()
    JobSlot.objects.filter(name="stamp").update(wanted_at=timezone.now() - JobSlot.LOST_AFTER)

    assert jobs.tick() == ["stamp"]


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=1)])
def test_a_clock_set_back_silences_no_pump(sent: list[str], jump: timedelta) -> None:
    Group.objects.create(name="new letter")
    JobSlot.objects.create(name="stamp", wanted_at=timezone.now() + jump)
    JobSlot.objects.create(name="stamp", host=jobs.HOST, running_until=timezone.now() + jump)

    assert jobs.tick() == ["stamp"]
    tasks.stamp()
    assert not tasks.stamp.is_due()


def test_wake_sends_after_the_commit_and_once(sent: list[str]) -> None:
    with transaction.atomic():
        jobs.wake("stamp")
        jobs.wake("stamp")
        assert sent == []
    assert len(sent) == 1


def test_wake_sends_nothing_for_work_that_was_rolled_back(sent: list[str]) -> None:
    with transaction.atomic():
        jobs.wake("stamp")
        transaction.set_rollback(True)
    assert sent == []


def test_wake_never_fails_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, **options: object) -> None:
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(jobs, "async_task", refuse)
    with transaction.atomic():
        Group.objects.create(name="kept")
        jobs.wake("stamp")
        jobs.wake("no such pump")
    jobs.wake("hold")

    assert Group.objects.filter(name="kept").exists()


def test_a_run_that_finds_no_slot_ends_at_once() -> None:
    inner: list[JobRun] = []
    outer = Job(
        lambda run: counting("one", inner)(), name="one", due=lambda: False, slots=1, time_limit=1
    )
    outer()
    assert inner == []
    outer.slots = 2
    Job(
        lambda run: counting("two", inner, slots=2)(),
        name="two",
        due=lambda: False,
        slots=2,
        time_limit=1,
    )()
    assert [run.number for run in inner] == [1]


def test_nobody_rings_while_every_slot_is_busy_but_the_run_that_ends_looks_again(
    sent: list[str],
) -> None:
    def work(run: JobRun) -> None:
        Group.objects.create(name="new letter")
        assert not jobs.send_wakeup("stamp")
        assert jobs.tick() == []

    Job(work, name="stamp", due=tasks.stamp.due, slots=1, time_limit=1)()
    assert len(sent) == 1


def test_a_turn_whose_slot_was_freed_expires_and_leaves_the_slot_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "RENEW_EVERY", 0)

    def work(run: JobRun) -> None:
        run.renew()
        assert not run.expired
        jobs.start_over()
        JobSlot.objects.create(
            name="one", host=jobs.HOST, running_until=timezone.now() + JobSlot.LEASE
        )
        run.renew()
        assert run.expired

    Job(work, name="one", due=lambda: True, slots=1, time_limit=60)()
    assert JobSlot.objects.running(timezone.now()).count() == 1


def test_a_pump_that_fails_rests_before_it_runs_again(
    sent: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    Group.objects.create(name="broken")
    tasks.broken()

    assert "The pump broken failed" in caplog.text
    assert jobs.tick() == []
    JobSlot.objects.filter(name="broken").update(
        running_until=timezone.now() - timedelta(seconds=1)
    )
    assert jobs.tick() == ["broken"]


def test_a_stopping_worker_ends_turns_and_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[JobRun] = []
    counting("one", runs)()
    assert not runs[0].expired
    monkeypatch.setattr(jobs, "_stopping", lambda: True)
    assert runs[0].expired
    counting("one", runs)()
    assert len(runs) == 1


def test_every_slot_has_a_worker_so_that_no_pump_waits_for_another(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    jobs.discover()

    # Other tests of this process may have registered pumps of their own.
    ours = [each for each in jobs.REGISTRY.values() if not each.path.startswith("tests.")]
    assert sum(each.slots for each in ours) <= settings.Q_CLUSTER["workers"]


def test_messages_name_the_pump_and_carry_nothing(settings) -> None:
    if "orm" not in settings.Q_CLUSTER:
        pytest.skip("reads the queue of the embedded installation")
    jobs.send_wakeup("stamp")

    message = OrmQ.objects.get().task
    assert (message["func"], message["args"], message["kwargs"]) == (
        "tests.config.sample_jobs.tasks.stamp",
        (),
        {},
    )

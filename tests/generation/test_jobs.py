"""Jobs: at most one queued wake-up and at most ``slots`` runs, without a cost for callers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone
from django_q.signing import SignedPackage

import generation.tasks
import moderation.tasks
from generation import jobs
from generation.jobs import Job, JobRun, Pool
from generation.models import JobSlot
from tests.config.sample_jobs import tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _only_these_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        jobs, "REGISTRY", {each.name: each for each in (tasks.stamp, tasks.hold, tasks.broken)}
    )


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the messages to the queue, whichever queue is configured."""
    paths: list[str] = []
    monkeypatch.setattr(jobs, "async_task", lambda path, **options: paths.append(path))
    return paths


def counting(name: str, runs: list[JobRun], *, slots: int = 1) -> Job:
    return Job(runs.append, name=name, due=lambda: False, slots=slots, time_limit=1)


def test_two_ticks_send_one_wakeup(sent: list[str]) -> None:
    Group.objects.create(name="new letter")

    assert jobs.tick() == ["stamp"]
    assert jobs.tick() == []
    assert sent == ["tests.config.sample_jobs.tasks.stamp"]


def test_run_of_a_job_clears_its_wakeup_and_its_slot() -> None:
    Group.objects.create(name="new letter")
    jobs.tick()
    tasks.stamp()

    assert not tasks.stamp.is_due()
    assert JobSlot.objects.get(name="stamp", host="").wanted_at is None
    assert JobSlot.objects.get(name="stamp", host=jobs.HOST).running_until is None


def test_idle_tick_costs_one_query_plus_one_for_each_job_with_a_bool_due(
    sent: list[str], django_assert_num_queries
) -> None:
    jobs.tick()
    with django_assert_num_queries(1 + 1):
        assert jobs.tick() == []


def test_wakeup_without_a_run_counts_as_lost_and_is_sent_again(sent: list[str]) -> None:
    Group.objects.create(name="new letter")
    jobs.tick()
    JobSlot.objects.filter(name="stamp").update(wanted_at=timezone.now() - JobSlot.LOST_AFTER)

    assert jobs.tick() == ["stamp"]


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=1)])
def test_clock_set_back_does_not_block_a_job(sent: list[str], jump: timedelta) -> None:
    Group.objects.create(name="new letter")
    JobSlot.objects.create(name="stamp", wanted_at=timezone.now() + jump)
    JobSlot.objects.create(name="stamp", host=jobs.HOST, running_until=timezone.now() + jump)

    assert jobs.tick() == ["stamp"]
    tasks.stamp()
    assert not tasks.stamp.is_due()


def test_wake_sends_one_message_after_the_commit(sent: list[str]) -> None:
    with transaction.atomic():
        jobs.wake("stamp")
        jobs.wake("stamp")
        assert sent == []
    assert len(sent) == 1


def test_wake_sends_nothing_after_a_rollback(sent: list[str]) -> None:
    with transaction.atomic():
        jobs.wake("stamp")
        transaction.set_rollback(True)
    assert sent == []


def test_wake_raises_no_error_without_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, **options: object) -> None:
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(jobs, "async_task", refuse)
    with transaction.atomic():
        Group.objects.create(name="kept")
        jobs.wake("stamp")
        jobs.wake("no such job")
    jobs.wake("hold")

    assert Group.objects.filter(name="kept").exists()


def test_run_without_a_free_slot_ends_at_once() -> None:
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
    assert [run.slot.number for run in inner] == [1]


def test_no_wakeup_is_sent_while_every_slot_is_busy_and_the_ending_run_sends_it(
    sent: list[str],
) -> None:
    def work(run: JobRun) -> None:
        Group.objects.create(name="new letter")
        assert not jobs.send_wakeup("stamp")
        assert jobs.tick() == []

    Job(work, name="stamp", due=tasks.stamp.due, slots=1, time_limit=1)()
    assert len(sent) == 1


def test_run_that_lost_its_slot_expires_and_keeps_the_new_slot_untouched(
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


def test_failed_job_pauses_before_its_next_run(
    sent: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    Group.objects.create(name="broken")
    tasks.broken()

    assert "The job broken failed" in caplog.text
    assert jobs.tick() == []
    JobSlot.objects.filter(name="broken").update(
        running_until=timezone.now() - timedelta(seconds=1)
    )
    assert jobs.tick() == ["broken"]


def test_stopping_worker_ends_runs_and_starts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[JobRun] = []
    counting("one", runs)()
    assert not runs[0].expired
    monkeypatch.setattr(jobs, "_stopping", lambda: True)
    assert runs[0].expired
    counting("one", runs)()
    assert len(runs) == 1


def test_pools_have_a_process_for_each_network_slot_and_each_core(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = (generation.tasks, moderation.tasks)
    found = [each for module in modules for each in vars(module).values() if isinstance(each, Job)]
    ours = {each.name: each for each in found}
    monkeypatch.setattr(jobs, "REGISTRY", ours)

    processes = jobs.count_processes()

    assert processes[Pool.COMPUTE] == settings.WORKERS == ours["classify"].slots
    for each in ours.values():
        if each.pool == Pool.PERIODIC:
            assert each.slots == 1, "a backlog of one job leaves processes for the others"
    network = [each.slots for each in ours.values() if each.pool == Pool.NETWORK]
    assert processes[Pool.NETWORK] == sum(network)


def test_second_run_starts_while_a_slot_is_free(
    sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.stamp, "slots", 3)
    jobs.start_over()

    def work(run: JobRun) -> None:
        jobs.wake_another(run)
        jobs.wake_another(run)

    Job(work, name="stamp", due=lambda: False, slots=3, time_limit=1)()

    assert len(sent) == 1


def test_start_keeps_the_free_slots_of_other_living_hosts() -> None:
    later = timezone.now() + JobSlot.LEASE
    JobSlot.objects.create(name=JobSlot.WORKER, host="alive", running_until=later)
    for host in ("alive", "dead"):
        JobSlot.objects.create(name="stamp", host=host)

    jobs.start_over()

    hosts = set(JobSlot.objects.values_list("host", flat=True))
    assert hosts == {"alive", jobs.HOST}


def test_queue_message_contains_only_the_job_path() -> None:
    broker = jobs.find_broker(jobs.find("stamp").pool)
    broker.purge_queue()  # Redis keeps the messages of earlier tests
    jobs.send_wakeup("stamp")

    ((_, payload),) = broker.dequeue()
    message = SignedPackage.loads(payload)
    assert (message["func"], message["args"], message["kwargs"]) == (
        "tests.config.sample_jobs.tasks.stamp",
        (),
        {},
    )

"""The worker after crashes: real processes, really killed.

No process stays behind, and no work is lost.
"""

from __future__ import annotations

import os
import platform
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from moderation import taxonomy
from tests.config.workers import Program, Worker, children, until

pytestmark = pytest.mark.slow


@pytest.fixture
def worker(data_dir: Path) -> Iterator[Worker]:
    with Worker(data_dir) as started:
        yield started


VICTIMS: dict[str, Callable[[Worker], int]] = {
    "a worker": lambda worker: children(worker.sentinel)[0],
    "a worker of another pool": lambda worker: children(children(worker.process.pid)[-1])[0],
    "the monitor": lambda worker: children(worker.sentinel)[-2],
    "the pusher": lambda worker: children(worker.sentinel)[-1],
    "the sentinel": lambda worker: worker.sentinel,
    "main": lambda worker: worker.process.pid,
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_ends_the_whole_tree(worker: Worker, victim: str) -> None:
    os.kill(VICTIMS[victim](worker), signal.SIGKILL)

    assert worker.code() == (-signal.SIGKILL if victim == "main" else 70)
    until(lambda: not worker.session())


def test_a_slot_held_by_a_killed_worker_is_free_after_the_restart(
    worker: Worker, data_dir: Path
) -> None:
    worker.add("hold")
    until(lambda: worker.lease("hold"))
    os.kill(worker.process.pid, signal.SIGKILL)
    until(lambda: not worker.session())
    never = "2999-01-01 00:00:00"
    worker.sql("UPDATE generation_jobslot SET running_until = ? WHERE name = 'hold'", never)

    with Worker(data_dir) as second:
        until(lambda: second.lease("hold") not in ("", never))


def test_second_worker_with_the_same_host_name_is_refused(worker: Worker, data_dir: Path) -> None:
    with Program(data_dir, "qworker", HOST_NAME=platform.node()) as second:
        assert second.code() == 1
        assert "A worker of this installation already runs as" in second.log.read_text()
    assert worker.process.poll() is None


def test_worker_with_another_host_name_adds_capacity(worker: Worker, data_dir: Path) -> None:
    def is_alive(host: str) -> bool:
        slots = "SELECT 1 FROM generation_jobslot WHERE name = 'worker' AND host = ?"
        return bool(worker.sql(slots, host))

    with Program(data_dir, "qworker", HOST_NAME="second") as second:
        until(lambda: second.process.poll() is not None or is_alive("second"))
        assert is_alive(platform.node())
        for number in range(2):
            worker.add(f"new {number}")
            until(lambda name=str(number): worker.is_done(name))
        slots = "SELECT count(*) FROM generation_jobslot WHERE name = 'classify' AND host != ''"
        assert worker.sql(slots) == [(2 * settings.WORKERS,)]


def test_start_schedules_a_training_for_each_category(worker: Worker) -> None:
    rows = worker.sql("SELECT category FROM moderation_headtraining")

    assert {category for (category,) in rows} == set(taxonomy.CATEGORIES)


def test_start_and_orderly_stop_are_logged(worker: Worker) -> None:
    pid = worker.process.pid
    until(
        lambda: re.search(
            rf"INFO loupe.worker: worker {pid} on \S+: started, \d+ processes",
            worker.log.read_text(),
        )
    )
    assert "stopped in order" not in worker.log.read_text()

    os.kill(pid, signal.SIGTERM)

    assert worker.code() == 0
    assert re.search(
        rf"INFO loupe.worker: worker {pid} on \S+: stopped in order", worker.log.read_text()
    )


@pytest.mark.parametrize("group", [False, True], ids=["main process", "process group"])
def test_sigterm_ends_running_jobs_early_with_exit_code_0(worker: Worker, group: bool) -> None:
    worker.add("hold")
    until(lambda: worker.lease("hold"))

    (os.killpg if group else os.kill)(worker.process.pid, signal.SIGTERM)

    assert worker.code() == 0
    assert not worker.lease("hold")
    assert not worker.session()


def test_stop_kills_a_stubborn_job_after_the_grace_period(data_dir: Path) -> None:
    with Worker(data_dir, "--grace=0.5") as worker:
        worker.add("stubborn")
        until(lambda: worker.lease("stubborn"))
        worker.process.terminate()

        assert worker.code() == 70
        until(lambda: not worker.session())


def test_due_job_runs_after_every_queue_message_was_lost(worker: Worker) -> None:
    worker.sql(
        "CREATE TRIGGER lose AFTER INSERT ON django_q_ormq BEGIN DELETE FROM django_q_ormq; END"
    )
    worker.add("new letter")
    until(
        lambda: worker.sql(
            "SELECT 1 FROM generation_jobslot WHERE name = 'stamp' AND wanted_at IS NOT NULL"
        )
    )
    worker.sql("DROP TRIGGER lose")

    until(lambda: worker.is_done("letter"))
    assert worker.process.poll() is None


def test_scheduler_survives_a_broken_database(worker: Worker) -> None:
    worker.sql("ALTER TABLE generation_jobslot RENAME TO elsewhere")
    until(lambda: "The tick failed" in worker.log.read_text())
    worker.sql("ALTER TABLE elsewhere RENAME TO generation_jobslot")
    worker.add("new letter")

    until(lambda: worker.is_done("letter"))


def test_recycled_and_timed_out_processes_do_not_end_the_worker(data_dir: Path) -> None:
    with Worker(data_dir, module="tests.config.short_settings", workers=1) as worker:
        first = children(worker.sentinel)
        worker.add("new one")
        until(lambda: worker.is_done("one"))
        until(lambda: set(first) != set(children(worker.sentinel)))
        worker.add("stubborn")
        until(lambda: worker.sql("SELECT 1 FROM django_q_task WHERE NOT success"))
        worker.sql("DELETE FROM auth_group WHERE name = 'stubborn'")
        worker.add("new two")
        until(lambda: worker.is_done("two"))

        assert worker.process.poll() is None
        # A pool of one process, replaced after each run, cannot empty its queue while it stops.
        until(lambda: not worker.sql("SELECT 1 FROM django_q_ormq"))
        until(lambda: worker.size == 3)
        worker.process.terminate()
        assert worker.code() == 0


def test_a_job_that_cannot_be_interrupted_ends_the_whole_tree(data_dir: Path) -> None:
    with Worker(data_dir, module="tests.config.short_settings", workers=1) as worker:
        worker.add("blocked")

        assert worker.code() == 70
        until(lambda: not worker.session())
        assert "cannot be stopped" in worker.log.read_text()


def test_a_silent_sentinel_ends_the_whole_tree(worker: Worker) -> None:
    os.kill(worker.sentinel, signal.SIGSTOP)

    assert worker.code() == 70
    until(lambda: not worker.session())
    assert "The sentinel has been silent" in worker.log.read_text()


def test_worker_waits_for_an_unavailable_database(data_dir: Path) -> None:
    database, elsewhere = data_dir / "db.sqlite3", data_dir / "elsewhere"
    database.rename(elsewhere)
    database.mkdir()
    with Program(data_dir, "qworker") as worker:
        until(lambda: "The worker waits to start" in worker.log.read_text())
        database.rmdir()
        elsewhere.rename(database)
        until(lambda: "started" in worker.log.read_text())
        worker.process.terminate()

        assert worker.code() == 0
        assert worker.log.read_text().count("The worker waits to start") == 1
        assert "Traceback" not in worker.log.read_text()


@pytest.mark.parametrize("away", ["database", "Redis"])
def test_waiting_worker_can_be_stopped(data_dir: Path, away: str) -> None:
    redis_url = "redis://127.0.0.1:1/0" if away == "Redis" else ""
    if away == "database":
        (data_dir / "db.sqlite3").unlink()
        (data_dir / "db.sqlite3").mkdir()
    with Program(data_dir, "qworker", REDIS_URL=redis_url) as worker:
        until(lambda: "The worker waits to start" in worker.log.read_text())
        worker.process.terminate()

        assert worker.code() == 0
        assert not worker.session()
        assert "Traceback" not in worker.log.read_text()

"""Every job, whose task was delivered to two hosts that run it at the same time."""

from __future__ import annotations

import multiprocessing
import warnings
from typing import Any

import pytest

from generation.jobs import Job, JobRun
from generation.models import JobSlot
from tests.faults.crash import close_databases
from tests.faults.recovery import assert_invariants, run_until_quiet
from tests.faults.scenarios import SCENARIOS, World
from tests.faults.test_crash_points import CORE

HOSTS = 2


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CORE else pytest.mark.slow)
        for name in sorted(SCENARIOS)
    ],
)
def test_task_on_two_hosts_at_once_has_the_result_of_one(name: str, world: World) -> None:
    scenario = SCENARIOS[name](world)
    scenario.prepare()

    run_side_by_side(scenario.job)

    run_until_quiet()
    scenario.recover()
    assert_invariants(name)
    assert scenario.check() == []


def run_side_by_side(job: Job) -> None:
    """Run the job in two processes at once, each with a slot of another host."""
    close_databases()
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(HOSTS, timeout=60)
    hosts = [
        fork.Process(target=_run_on_host, args=(job, f"host-{number}", start))
        for number in range(HOSTS)
    ]
    with warnings.catch_warnings():
        # The live server is a thread of this process. The children use nothing of it.
        warnings.simplefilter("ignore", DeprecationWarning)
        for host in hosts:
            host.start()
    for host in hosts:
        host.join()
    assert [host.exitcode for host in hosts] == [0] * HOSTS
    JobSlot.objects.filter(host__startswith="host-").delete()


def _run_on_host(job: Job, host: str, start: Any) -> None:
    slot = JobSlot.objects.claim(name=job.name, host=host, slots=1)
    assert slot is not None
    run = JobRun(slot, time_limit=60)
    start.wait()
    job.function(run)
    run.end()

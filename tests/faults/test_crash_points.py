"""Every job, killed at its first effect, then at its second, and so on until it ends by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from django.db import connection

from generation import jobs
from tests.faults.crash import run_and_kill
from tests.faults.recovery import assert_invariants, run_until_quiet
from tests.faults.scenarios import SCENARIOS, World

# The least number of effects at which each job was killed. A smaller number means that effects are
# no longer counted, or that the scenario no longer does the job's work: explain it, then change it.
POINTS: dict[str, int] = dict.fromkeys(SCENARIOS, 3)
CORE = ("submit", "reconcile", "poll", "fetch", "classify", "deliver")
LIMIT = 200


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CORE else pytest.mark.slow)
        for name in sorted(SCENARIOS)
    ],
)
def test_killed_job_loses_and_doubles_nothing(
    name: str, world: World, record_property: Callable[[str, object], None]
) -> None:
    scenario = SCENARIOS[name](world)
    faults: dict[str, list[str]] = {}
    for number in itertools.count(1):
        scenario.prepare()
        was_killed, effects = run_and_kill(scenario.job, at=number)
        run_until_quiet()
        place = f"{name} killed at {number} ({effects[-1] if effects else 'nothing'})"
        assert_invariants(place)
        if found := scenario.check():
            faults[place] = found
        if not was_killed:
            break
        assert number < LIMIT, "the job does not end"
    print(f"{name}: {len(effects)} crash points")  # a figure of the scorecard
    record_property("crash points", len(effects))
    assert not faults
    if connection.vendor == "sqlite":  # the numbers above are those of SQLite
        assert len(effects) >= POINTS[name], effects


def test_every_job_has_a_scenario() -> None:
    jobs.discover()

    assert {scenario.job.name for scenario in SCENARIOS.values()} == {
        name for name, job in jobs.REGISTRY.items() if not job.path.startswith("tests.")
    }
    assert set(POINTS) == set(SCENARIOS)

"""Every job, killed at its first effect, then at its second, and so on until it ends by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from generation import jobs
from generation.core.db.state_machine import DueModel
from tests.faults.crash import run_and_kill
from tests.faults.recovery import assert_invariants, run_until_quiet
from tests.faults.scenarios import COMMANDS, SCENARIOS, World

# The least number of effects at which each job was killed. A smaller number means that effects are
# no longer counted, or that the scenario no longer does the job's work: explain it, then change it.
POINTS: dict[str, int] = dict.fromkeys(SCENARIOS | COMMANDS, 3)
CORE = ("submit", "reconcile", "poll", "fetch", "classify", "deliver")
LIMIT = 200
FILES_EVERY = 4  # reading the files is half of the time, and a lost file is still lost at the end


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CORE else pytest.mark.slow)
        for name in sorted(SCENARIOS | COMMANDS)
    ],
)
def test_killed_job_loses_and_doubles_nothing(
    name: str, world: World, record_property: Callable[[str, object], None]
) -> None:
    scenario = (SCENARIOS | COMMANDS)[name](world)
    faults: dict[str, list[str]] = {}
    for number in itertools.count(1):
        scenario.prepare()
        for model in scenario.rows:
            assert model._default_manager.filter(due_at__lte=timezone.now()).exists(), model
        was_killed, effects = run_and_kill(scenario.run, at=number)
        run_until_quiet()
        scenario.recover()
        place = f"{name} killed at {number} ({effects[-1] if effects else 'nothing'})"
        assert_invariants(place, files=number % FILES_EVERY == 0 or not was_killed)
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
    assert set(POINTS) == set(SCENARIOS | COMMANDS)


def test_every_model_with_due_rows_has_a_scenario() -> None:
    """One job can work on several models: a new one needs a scenario too."""
    models = {model for model in apps.get_models() if issubclass(model, DueModel)}

    assert {model for scenario in SCENARIOS.values() for model in scenario.rows} == models

"""The verdict of the soak: what counts as a problem."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soak.__main__ import find_problems, format_report

GOOD: dict[str, Any] = {
    "kills": {"web": 1, "worker": 1, "process of web": 1, "process of worker": 1},
    "answers": {"desk: 200": 9, "desk: 503": 1},
    "confirmed tasks": 5,
    "confirmed decisions": 5,
    "lost tasks": 0,
    "lost decisions": 0,
    "duplicate assets": 0,
    "submitted twice": 0,
    "tasks without a request": 0,
    "unknown without a message": 0,
    "open": 0,
    "classifying": 0,
    "violations": [],
    "last check": "20 invariants hold.",
    "ended alone": ["worker"],
    "growth": [{"process": "web 1", "seconds": 90, "MiB per hour": 900.0, "files": [20, 25, 21]}],
}


def test_run_without_losses_passes() -> None:
    assert find_problems(GOOD) == []
    assert format_report({**GOOD, "problems": []}).endswith("PASS")


@pytest.mark.parametrize(
    "change",
    [
        {"lost tasks": 1},
        {"lost decisions": 1},
        {"submitted twice": 1},
        {"open": 1},
        {"violations": ["I1: two requests"]},
        {"last check": "OperationalError"},
        {"answers": {"desk: 500": 1}},
        {"ended alone": ["worker", "worker"]},
        {"confirmed decisions": 0},
        {"growth": [{**GOOD["growth"][0], "files": [20, 60, 60]}]},
        {"growth": [{**GOOD["growth"][0], "seconds": 3600}]},
    ],
)
def test_loss_or_growth_fails(change: dict[str, Any]) -> None:
    assert len(find_problems({**GOOD, **change})) == 1

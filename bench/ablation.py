"""Cost of a decision with one speed-up taken out at a time: ``python -m bench.inside ablation out``.

The variants take turns in several rounds, because the speed of a shared machine drifts.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import override_settings

from bench.figures import percentile, record_queries
from bench.people import InProcess, Person
from bench.server import DECISIONS, WARM_UP
from moderation.models import Review

ROUNDS = 4
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


@contextmanager
def _through_djangos_cursor() -> Iterator[None]:
    """Send every statement through Django's cursor, as a wrapped connection does."""

    def forward(execute: Callable[..., Any], *args: Any) -> Any:
        return execute(*args)

    with connection.execute_wrapper(forward):
        yield


@contextmanager
def _with_model_backend() -> Iterator[None]:
    """Log in with Django's backend, which the session then names for each request."""
    with (
        override_settings(AUTHENTICATION_BACKENDS=[MODEL_BACKEND]),
        patch("config.auth.adapters.BACKEND", MODEL_BACKEND),
    ):
        yield


def _without_summary() -> AbstractContextManager[Any]:
    absent = property(lambda review: None, lambda review, value: None)
    return patch.object(Review, "classification_summary", absent)


# Speed-ups that a variant removes, by the name of its row.
VARIANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "everything on": nullcontext,
    "plain ORM (PREPARED_QUERIES=0)": lambda: override_settings(PREPARED_QUERIES=False),
    "Django's cursor on SQLite": _through_djangos_cursor,
    "user and permissions by ModelBackend": _with_model_backend,
    "Django's database sessions": lambda: override_settings(
        SESSION_ENGINE="django.contrib.sessions.backends.db"
    ),
    "labels read from the tables": _without_summary,
}
BASE = "everything on"


def main(out: str) -> None:
    costs: dict[str, list[float]] = {name: [] for name in VARIANTS}
    counts: dict[str, int] = {}
    for number in range(ROUNDS):
        for name, variant in VARIANTS.items():
            with variant():
                counts[name] = _measure(f"moderator-{number + 1}", costs[name])
    base = statistics.fmean(costs[BASE])
    found = {
        name: {
            "mean_ms": round(1000 * statistics.fmean(samples), 2),
            "p10_ms": round(1000 * percentile(samples, 10), 2),
            "queries": counts[name],
            "more_percent": round(100 * (statistics.fmean(samples) / base - 1)),
            "samples": len(samples),
        }
        for name, samples in costs.items()
    }
    Path(out).write_text(json.dumps(found))


def _measure(name: str, samples: list[float]) -> int:
    """Add the CPU seconds of a round of decisions; return the number of queries of one."""
    person = Person(name, InProcess(get_wsgi_application()))
    person.log_in()
    person.sit_down()
    for _ in range(WARM_UP // ROUNDS):
        person.decide()
    samples.extend(person.decide().cpu for _ in range(max(1, DECISIONS // ROUNDS)))
    with record_queries() as seen:
        person.decide()
    return len(seen)

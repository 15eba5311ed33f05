"""Server cost of a decision at the desk, and of every page that could grow with the database.

Calls the whole WSGI application in this process: ``python -m bench.inside server out.json``.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

from django.urls import Resolver404, resolve

from bench import bare, core
from bench.figures import record_queries, spread
from bench.people import InProcess, Person
from config.wsgi import application
from generation.models import GenerationRequest
from moderation.models import Decision, Review

DECISIONS, VIEWS = (
    int(os.environ.get("BENCH_DECISIONS", "300")),
    int(os.environ.get("BENCH_VIEWS", "40")),
)
WARM_UP = min(30, DECISIONS)


def main(out: str) -> None:
    nobody = Person("nobody", InProcess(application))
    person = Person("moderator-1", InProcess(application))
    person.log_in()
    senior = Person("senior", InProcess(application))
    senior.log_in()
    result: dict[str, Any] = {}
    # Before and after, because the speed of shared machines varies.
    bares = [bare.measure_bare_page()["cpu"]["mean"]]
    # All middleware and no query.
    result["yardstick"] = measure_page(nobody, "/healthz")
    result["decision"] = measure_decisions(person)
    bares.append(bare.measure_bare_page()["cpu"]["mean"])
    result["bare"] = statistics.fmean(bares)
    result["pages"] = {
        name: measure_page(senior if path.startswith("/decisions") else person, path)
        for name, path in list_pages()
    }
    Path(out).write_text(json.dumps(result))


def measure_decisions(person: Person) -> dict[str, Any]:
    """Measure decisions: decide, claim and render the next panel in one POST."""
    person.sit_down()
    for _ in range(WARM_UP):
        person.decide()
    with record_queries() as seen:
        person.decide()
    answers, arithmetic = [], []
    for _ in range(DECISIONS):
        arithmetic.append(core.measure_arithmetic())
        answers.append(person.decide())
    return {
        "cpu": spread([answer.cpu for answer in answers]),
        "slowdown": round(core.compute_slowdown(arithmetic), 3),
        "wall": spread([answer.wall for answer in answers]),
        "queries": len(seen),
        "bytes": len(answers[-1].body),
    }


def list_pages() -> list[tuple[str, str]]:
    """Return name and URL path of each page; pages that do not exist are left out."""
    waiting = Review.objects.waiting().in_order()
    some = waiting[60]
    deep = waiting.filter(risk__lte=50)[0]
    decided = Decision.objects.newest_first().filter(verdict="reject")[0].review
    request = GenerationRequest.objects.order_by("pk")[0]
    found = [
        ("home", "/"),
        ("queues", "/queues/"),
        ("queue", "/queues/waiting/"),
        ("queue, deep", f"/queues/waiting/?after={deep.risk}.{deep.pk}"),
        ("queue, newest first", "/queues/waiting/?order=newest"),
        ("queue, one filter", "/queues/waiting/?category=alcohol"),
        ("queue, two filters", "/queues/waiting/?category=alcohol&source=upload"),
        ("queue, a rare category", "/queues/waiting/?category=gambling"),
        ("queue, nothing matches", "/queues/waiting/?category=rude-gestures&source=upload"),
        ("queue, older than a day", "/queues/waiting/?hours=24"),
        ("queue, second opinion", "/queues/second-opinion/"),
        ("review", f"/reviews/{some.uuid}/?queue=waiting"),
        ("review, decided", f"/reviews/{decided.uuid}/"),
        ("record", "/decisions/"),
        ("record, one person", "/decisions/?reviewer=moderator-3&verdict=reject"),
        ("record, a rare category", "/decisions/?category=gambling"),
        ("record, nothing matches", "/decisions/?reviewer=nobody"),
        ("requests", "/requests/"),
        ("request", f"/requests/{request.uuid}/"),
        ("search, common words", "/search/?q=harbour"),
        ("search, rare words", "/search/?q=take+4711"),
        ("search, nothing matches", "/search/?q=xylophone"),
    ]
    return [(name, path) for name, path in found if _exists(path)]


def _exists(path: str) -> bool:
    try:
        resolve(path.partition("?")[0])
    except Resolver404:
        return False
    return True


def measure_page(person: Person, path: str) -> dict[str, Any]:
    with record_queries() as seen:
        first = person.get(path)
    if first.status != 200:
        raise RuntimeError(f"{path} was answered {first.status}.")
    # A page that takes seconds is measured three times only.
    answers = [person.get(path) for _ in range(VIEWS if first.wall < 0.5 else 3)]
    return {
        "wall": spread([answer.wall for answer in answers]),
        "cpu": spread([answer.cpu for answer in answers]),
        "queries": len(seen),
        "bytes": len(first.body),
    }

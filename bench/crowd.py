"""Several moderators at once over HTTP, against the production server.

Also checks that no image is given to two people. The simulated people share two cores with the
server; their CPU use is reported beside the figure.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.models import Count

from bench.figures import spread
from bench.people import Answer, OverHttp, Person
from bench.serving import run_granian
from moderation.models import Decision

MODERATORS, WORKERS = 8, 2
HUMAN_INTERVAL = 1.0  # seconds from one decision of a person to the next
SECONDS = float(os.environ.get("BENCH_SECONDS", "15"))


def main(out: str) -> None:
    before = Decision.objects.newest_first().values_list("sequence", flat=True)[0]
    folder = Path(out).parent
    with run_granian(
        "config.wsgi:application",
        workers=WORKERS,
        env=dict(os.environ),
        ready="/healthz",
        log=folder / "crowd.log",
    ) as port:
        people = [
            Person(f"moderator-{number}", OverHttp(port)) for number in range(1, MODERATORS + 1)
        ]
        for person in people:
            person.log_in()
        yardstick = _work(people, lambda person: person.get("/healthz"), seconds=SECONDS / 3)
        for person in people:
            person.sit_down()
        human = _work(
            people,
            Person.decide,
            seconds=SECONDS,
            has_work=lambda person: bool(person.deck),
            interval=HUMAN_INTERVAL,
        )
        # Last: it may decide a small database to its end.
        figures = _work(
            people, Person.decide, seconds=SECONDS, has_work=lambda person: bool(person.deck)
        )
    Path(out).write_text(
        json.dumps(
            {
                **figures,
                "human": human,
                "moderators": MODERATORS,
                "yardstick": yardstick,
                **_doubles(people, before),
            }
        )
    )


def _work(
    people: list[Person],
    act: Callable[[Person], Answer],
    *,
    seconds: float,
    has_work: Callable[[Person], bool] = lambda person: True,
    interval: float = 0.0,
) -> dict[str, Any]:
    """Run an action repeatedly for every person in parallel, for ``seconds``."""
    times: list[float] = []
    faults: list[str] = []
    started, cpu = time.monotonic(), time.process_time()

    def work(person: Person) -> None:
        try:
            due = started + interval * people.index(person) / len(people)
            while due < started + seconds and has_work(person):
                time.sleep(max(0.0, due - time.monotonic()))
                times.append(act(person).wall)
                due = max(due + interval, time.monotonic())
        except Exception as error:  # errors are part of the result
            faults.append(repr(error)[:300])

    threads = [threading.Thread(target=work, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    return {
        "per_second": round(len(times) / elapsed, 1),
        "answer": spread(times),
        "slowest_ms": round(1000 * max(times), 1),
        "cores_of_the_people": round((time.process_time() - cpu) / elapsed, 2),
        "faults": faults,
    }


def _doubles(people: list[Person], before: int) -> dict[str, int]:
    """Count images given to two people, and images with two decisions of this run."""
    dealt = Counter(review for person in people for review in person.seen)
    rows = Decision.objects.filter(sequence__gt=before)
    twice = rows.values("review").annotate(times=Count("pk")).filter(times__gt=1)
    return {
        "dealt_twice": sum(times > 1 for times in dealt.values()),
        "decided_twice": twice.count(),
        "decisions": rows.count(),
        "answered": sum(person.decided for person in people),
    }

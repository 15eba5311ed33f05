"""Time and query plan of dealing an image, for every kind of filter.

A plan that scans the table or sorts the waiting reviews grows with the queue, however fast it is
today.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from bench.figures import spread
from moderation import queues
from moderation.services import claims

QUEUES = [
    "waiting",
    "waiting?order=oldest",
    "waiting?order=newest",
    "waiting?category=alcohol",
    "waiting?category=gambling",
    "waiting?category=rude-gestures",
    "waiting?category=alcohol&order=oldest",
    "waiting?category=gambling&order=newest",
    "waiting?source=upload",
    "waiting?provider=novita-sandbox",
    "waiting?category=alcohol&source=upload",
    "waiting?category=gambling&source=api",
    "waiting?category=alcohol&source=txt2img&provider=novita-sandbox",
    "waiting?risk=60",
    "waiting?hours=24",
    "waiting?hours=8000",
    "waiting?hours=9000",
    "waiting?category=alcohol&hours=24",
    "escalated",
    "second-opinion",
    "mine",
]
TIMES = min(20, int(os.environ.get("BENCH_VIEWS", "20")))
# A full table scan, or a sort of the results. PostgreSQL knows the number of rows and may sort a
# few.
WALKS = re.compile(
    r"^SCAN (?!CONSTANT)|TEMP B-TREE FOR ORDER BY|Seq Scan on moderation_review"
    # All decisions that are no reversals: outside a join, the index is searched for NULL.
    r"|^SEARCH \w+ USING (?:COVERING )?INDEX \S+ \(reverses_id=\?\)$",
    re.MULTILINE,
)
SORTS = re.compile(r"\bSort  \(cost=\S+ rows=(\d+)")
FEW = 5000


def main(out: str) -> None:
    user = User.objects.get(username="senior")
    result = {key: {**_deal(user, key), **_look(user, key)} for key in QUEUES}
    Path(out).write_text(json.dumps(result))


def _deal(user: User, key: str) -> dict[str, Any]:
    """Deal one image and roll back, repeatedly."""
    queue = queues.find_queue(key, user)
    assert queue is not None, key
    times: list[float] = []
    plans: list[str] = []
    count = 0
    for _ in range(TIMES):
        with transaction.atomic():
            started = time.perf_counter()
            with _explained(plans):
                count = len(claims.claim_batch(user=user, queue=queue, count=1))
            times.append(time.perf_counter() - started)
            transaction.set_rollback(True)
        if times[-1] > 0.5 and len(times) >= 3:
            break
    plan = plans[0]
    return {
        "deal": spread(times),
        "found": count,
        "plan": plan,
        "grows": _grows(plan),
    }


def _grows(plan: str) -> bool:
    if "review_claims" in plan:  # the claims of one person, which are few
        return False
    return bool(WALKS.search(plan)) or any(int(rows) > FEW for rows in SORTS.findall(plan))


def _look(user: User, key: str) -> dict[str, Any]:
    """Time the two queries that pages run on every queue: the count, and the oldest review."""
    queue = queues.find_queue(key, user)
    assert queue is not None, key
    times = []
    for ask in (
        lambda: queues.count_bounded(queue.reviews(user)),
        lambda: queue.reviews(user).order_by("pk").first(),
    ):
        started = time.perf_counter()
        ask()
        times.append(round(1000 * (time.perf_counter() - started), 2))
    return {"count_ms": times[0], "oldest_ms": times[1]}


class _explained:
    """Context manager that explains the first statement about reviews, the one that deals."""

    def __init__(self, plans: list[str]) -> None:
        self.plans, self.is_busy = plans, False
        self.wrapper = connection.execute_wrapper(self._explain)

    def _explain(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not self.plans and not self.is_busy and '"moderation_review"' in sql:
            self.is_busy = True
            how = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
            with connection.cursor() as cursor:
                cursor.execute(f"{how} {sql}", params)
                self.plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))
            self.is_busy = False
        return execute(sql, params, many, context)

    def __enter__(self) -> None:
        self.wrapper.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.wrapper.__exit__(*error)

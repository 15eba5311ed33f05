"""A trial of a policy over all images, compared with a bare read of the same rows in the same run.

Measures reviews per second and CPU per review.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from moderation.models import Policy
from moderation.policy_engine import Thresholds
from moderation.services import policies, trials
from moderation.services.trials import Plan

# The columns that a trial reads, without anything done to them.
RAW = (
    """
    SELECT v.id, v.status, v.is_blurred, v.source, a.frames, c.id, c.classifier, c.version,
           c.status, c.flagged, c.covers, c.raw, c.score, l.id, l.category, l.confidence
    FROM moderation_review v
    JOIN generation_asset a ON a.id = v.asset_id
    LEFT JOIN moderation_classification c ON c.asset_id = a.id
    LEFT JOIN moderation_label l ON l.classification_id = c.id
    WHERE v.status <> 'classifying' AND v.id > %s AND v.id <= %s
    """,
    """
    SELECT review_id, sequence, id, verdict, is_blurred, by_policy, policy_id,
           policy_in_force_id, reverses_id, second_of_id, categories, seconds
    FROM moderation_decision
    WHERE NOT by_policy AND review_id > %s AND review_id <= %s
    """,
)
LOOSER = {"explicit": Thresholds(review_at=Decimal(70), reject_at=Decimal(90))}
ROUNDS = 2  # the faster one counts


def main(out: str) -> None:
    active = Policy.objects.active()
    candidate = policies.create_version(
        based_on=active, user=User.objects.get(username="senior"), rules=LOOSER
    )
    plan = Plan.of(candidate=candidate, baseline=active, days=trials.DAYS_MAX)
    result = {
        "reference": _measure(lambda: _read_rows(plan)),
        "trial": _measure(lambda: int(trials.compute(plan)["images"])),
    }
    Path(out).write_text(json.dumps(result))


def _measure(run: Callable[[], int]) -> dict[str, Any]:
    found = []
    for _ in range(ROUNDS):
        started, cpu = time.perf_counter(), time.process_time()
        reviews = run()
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - started
        found.append({"reviews": reviews, "cpu_us": 1e6 * cpu / reviews, "seconds": seconds})
    best = min(found, key=lambda one: one["cpu_us"])
    return {**best, "per_second": round(best["reviews"] / best["seconds"])}


def _read_rows(plan: Plan) -> int:
    reviews: set[int] = set()
    with connection.cursor() as cursor:
        for after in range(plan.first, plan.last, trials.READ_AT_ONCE):
            until = min(after + trials.READ_AT_ONCE, plan.last)
            for number, query in enumerate(RAW):
                cursor.execute(query, [after, until])
                found = cursor.fetchall()
                if number == 0:
                    reviews.update(row[0] for row in found)
    return len(reviews)

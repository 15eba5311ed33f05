"""Books of an installation as JSON, read with its settings: ``python -m tests.soak.books``."""

from __future__ import annotations

import json
import sys

import django
from django.db.models import Count


def read() -> dict[str, object]:
    """Return what the database says about requests, tasks of the provider and decisions."""
    from generation.models import Asset, GenerationRequest
    from generation.sandbox.models import SandboxTask
    from moderation.models import Decision, Review

    requests = GenerationRequest.objects
    tasks = dict(SandboxTask.objects.values_list("seed").annotate(number=Count("pk")))
    seeds = {str(seed) for seed in requests.values_list("seed", flat=True)}
    reviews = Review.objects.values_list("status").annotate(number=Count("pk"))
    silent = requests.filter(status=GenerationRequest.Status.UNKNOWN, error="")
    doubled = Asset.objects.values("request", "position").annotate(number=Count("pk"))
    decided = Decision.objects.filter(by_policy=False)
    return {
        "requests": dict(requests.values_list("status").annotate(number=Count("pk"))),
        "reviews": dict(reviews),
        "open": requests.filter(status__in=GenerationRequest.OPEN).count(),
        "classifying": Review.objects.filter(status=Review.Status.CLASSIFYING).count(),
        "assets": Asset.objects.count(),
        "duplicate assets": doubled.filter(request__isnull=False, number__gt=1).count(),
        "submitted twice": sum(number > 1 for number in tasks.values()),
        "tasks without a request": len(tasks.keys() - seeds),
        "unknown without a message": silent.count(),
        "tasks": [str(uuid) for uuid in requests.values_list("uuid", flat=True)],
        "decisions": [
            f"{name} {review}"
            for name, review in decided.values_list("reviewer_name", "review__uuid")
        ],
    }


if __name__ == "__main__":
    django.setup()
    json.dump(read(), sys.stdout)

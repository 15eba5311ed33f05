"""Skipped reviews, kept in the session per queue, newest last and limited in number."""

from __future__ import annotations

from django.http import HttpRequest

from moderation.models import Review
from moderation.queues import Queue

SKIPS_KEPT = 200


def get_skipped(request: HttpRequest, queue: Queue) -> list[int]:
    kept: dict[str, list[int]] = request.session.get("skips", {})
    return kept.get(queue.slug, [])


def add_skipped(request: HttpRequest, queue: Queue, *reviews: Review) -> None:
    new = [review.pk for review in reviews]
    kept = [pk for pk in get_skipped(request, queue) if pk not in new]
    request.session["skips"] = {
        **request.session.get("skips", {}),
        queue.slug: [*kept, *new][-SKIPS_KEPT:],
    }


def clear_skipped(request: HttpRequest, queue: Queue) -> None:
    others = {
        slug: pks for slug, pks in request.session.get("skips", {}).items() if slug != queue.slug
    }
    request.session["skips"] = others

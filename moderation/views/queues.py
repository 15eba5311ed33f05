"""Queues as lists: how deep they are, and what is in them. Looking claims nothing."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from generation.htmx import respond
from moderation import queues
from moderation.models import Review
from moderation.models.reviews import ReviewQuerySet
from moderation.queues import Queue
from moderation.screen import rail
from moderation.views import panels, skips
from moderation.views.access import DeskRequest, get_queue_for, named_queue

SHEET_LENGTH = 60


@require_GET
def queue_list(request: DeskRequest) -> HttpResponse:
    rows = [
        (queue, queues.bounded_count(queue.reviews(request.user)), oldest(queue.reviews(request.user)))
        for queue in queues.for_user(request.user)
    ]
    return render(request, "moderation/queue_list.html", {"rows": rows})


def oldest(rows: ReviewQuerySet) -> Review | None:
    """Ids follow arrival, so the lowest has waited longest."""
    return rows.order_by("pk").first()


@require_GET
def queue_detail(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug, request.GET)
    rows = queue.reviews(request.user)
    page, following = _sheet(queue, rows, request.GET.get("after", ""))
    skipped = skips.skipped(request, queue)
    context: dict[str, Any] = {
        "queue": queue,
        "page": page,
        "following": following,
        "is_first": "after" not in request.GET,
        "count": queues.bounded_count(rows),
        "skipped": rows.filter(pk__in=skipped).count() if skipped else 0,
    }
    return respond(request, "moderation/queue_detail.html", "moderation/_queue.html", context)


def _sheet(queue: Queue, rows: ReviewQuerySet, after: str) -> tuple[list[Review], str]:
    """One page in the queue's order, and the key of the next page: no offset, so page 500 costs what page 1 does."""
    priority, _, pk = after.partition(".")
    if priority.isdecimal() and pk.isdecimal():
        rows = _after(rows, queue.filters.order, int(priority), int(pk))
    rows = rows.select_related("asset__request", "claimed_by").defer("asset__metadata", "asset__detection")
    found = list(queue.ordered(rows)[: SHEET_LENGTH + 1])
    page = found[:SHEET_LENGTH]
    return page, f"{page[-1].priority}.{page[-1].pk}" if len(found) > SHEET_LENGTH else ""


def _after(rows: ReviewQuerySet, order: str, priority: int, pk: int) -> ReviewQuerySet:
    if order == "oldest":
        return rows.filter(pk__gt=pk)
    if order == "newest":
        return rows.filter(pk__lt=pk)
    # The first condition says nothing new; it lets the database seek in the index instead of walking to the page.
    return rows.filter(priority__lte=priority).filter(Q(priority__lt=priority) | Q(pk__gt=pk))


@require_POST
def claim_next(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug, request.GET)
    if "again" in request.POST:
        skips.forget(request, queue)
    return panels.go_on(request, queue)


@require_POST
def deck(request: DeskRequest, slug: str) -> HttpResponse:
    """Claim what comes next, and send it ahead of time."""
    return panels.refill(request, get_queue_for(request.user, slug, request.GET))


@require_GET
def live(request: DeskRequest) -> HttpResponse:
    """The rail as it is now. Nothing else moves: what is under somebody's hands stays there."""
    return render(
        request, "moderation/_rail.html", {"queue": named_queue(request.user, request.GET), **rail(request.user)}
    )

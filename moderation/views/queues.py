"""Pages of queues: counts and contents. Viewing claims nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from generation.core.db import keyset
from generation.core.htmx import respond
from generation.wire.parsing import parse_integer, parse_keyset
from moderation import queues
from moderation.forms.queues import QueueFilterForm, SavedQueueForm
from moderation.models import Review
from moderation.models.reviews import ReviewQuerySet
from moderation.presenters.counters import count_queues
from moderation.presenters.panel import sidebar
from moderation.queues import Queue
from moderation.services import decisions, reclassification, saved_queues
from moderation.views import panels, skips
from moderation.views.access import (
    DeskRequest,
    SeeOther,
    find_queue_for,
    get_queue_for,
    get_saved_queue_for,
)

PAGE_LENGTH = 60


@require_GET
def queue_list(request: DeskRequest) -> HttpResponse:
    rows = [
        (
            queue,
            queues.count_bounded(queue.reviews(request.user)),
            find_oldest(queue.reviews(request.user)),
        )
        for queue in queues.list_queues(request.user)
    ]
    saved = queues.list_saved_queues(request.user)
    counted = list(zip(saved, count_queues(saved, request.user), strict=True))
    return render(request, "moderation/queue_list.html", {"rows": rows, "saved": counted})


def find_oldest(rows: ReviewQuerySet) -> Review | None:
    """Return the review that has waited longest: ids follow arrival."""
    return rows.order_by("pk").first()


@require_GET
def queue_detail(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug, request.GET)
    if any(not value for value in request.GET.values()):
        return redirect(queue)  # drop empty fields, which forms submit too
    return _render_page(request, queue)


def _render_page(
    request: DeskRequest, queue: Queue, *, status: int = 200, **extra: Any
) -> HttpResponse:
    rows = queue.reviews(request.user)
    page, following = _read_page(queue, rows, request.GET.get("after", ""))
    is_first = "after" not in request.GET
    is_not_empty = bool(page) or not is_first
    if request.htmx and is_first and not page:
        return HttpResponse(status=204)  # a poll of an empty queue that is still empty
    skipped = skips.get_skipped(request, queue)
    saved = queues.list_saved_queues(request.user)
    context: dict[str, Any] = {
        "queue": queue,
        "saved": next((one for one in saved if one.key == queue.key), None),
        "page": page,
        "following": following,
        "is_first": is_first,
        # An empty first page means an empty queue: skip the counts, which would each scan an index.
        "newest": _find_newest_pk(rows) if is_not_empty else 0,
        "count": queues.count_bounded(rows) if is_not_empty else "0",
        "skipped": rows.filter(pk__in=skipped).count() if skipped else 0,
        "filters": QueueFilterForm(queue.filters),
        "may_share": queues.may_share(request.user),
        "saving": SavedQueueForm.for_queue(queue),
        "reclassifiable": reclassification.QUEUES,
        **extra,
    }
    return respond(
        request, "moderation/queue_detail.html", "moderation/_queue.html", context, status=status
    )


def _read_page(queue: Queue, rows: ReviewQuerySet, after: str) -> tuple[list[Review], str]:
    """Return one page and the key of the next one."""
    place = parse_keyset(after, parts=2)
    if place is not None:
        rows = queue.after(rows, risk=place[0], pk=place[1])
    page, has_more = keyset.read_page(queue.ordered(rows.for_tiles()), PAGE_LENGTH)
    return page, f"{page[-1].risk}.{page[-1].pk}" if has_more else ""


@require_POST
def claim_next(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug, request.GET)
    if "again" in request.POST:
        skips.clear_skipped(request, queue)
    return panels.show_next(request, queue)


@require_POST
def deck(request: DeskRequest, slug: str) -> HttpResponse:
    """Claim and send the next images ahead of time."""
    return panels.refill_deck(request, get_queue_for(request.user, slug, request.GET))


def _find_newest_pk(rows: ReviewQuerySet) -> int:
    return rows.order_by("-pk").values_list("pk", flat=True).first() or 0


@require_GET
def arrivals(request: DeskRequest, slug: str) -> HttpResponse:
    """Return the number of arrivals since the page was opened, without changing its list."""
    queue = get_queue_for(request.user, slug, request.GET)
    since = parse_integer(request.GET.get("since", ""))
    rows = queue.reviews(request.user)
    fresh = "0" if since is None else queues.count_bounded(rows.filter(pk__gt=since))
    context = {
        "queue": queue,
        "since": "" if since is None else since,
        "fresh": fresh,
        "count": queues.count_bounded(rows),
    }
    return render(request, "moderation/_arrivals.html", context)


@require_GET
def live(request: DeskRequest) -> HttpResponse:
    """Return the current sidebar. The rest of the page is left unchanged."""
    return render(
        request,
        "moderation/_sidebar.html",
        {"queue": find_queue_for(request.user, request.GET), **sidebar(request.user)},
    )


# --- Saved queues ---


@require_POST
def queue_save(request: DeskRequest, slug: str) -> HttpResponse:
    queue = get_queue_for(request.user, slug, request.GET)
    form = SavedQueueForm(request.POST)
    if not form.is_valid():
        return _render_page(request, queue, status=422, saving=form)
    given = form.cleaned_data
    try:
        saved = saved_queues.save(
            user=request.user, queue=queue, name=given["name"], is_shared=given["is_shared"]
        )
    except decisions.DecisionError as error:
        form.add_problem(error)
        return _render_page(request, queue, status=panels.STATUS_OF[type(error)], saving=form)
    messages.success(request, f"Saved as “{saved.name}”.")
    return SeeOther(queue.get_absolute_url())


@require_POST
def saved_delete(request: DeskRequest, uuid: UUID) -> HttpResponse:
    saved = get_saved_queue_for(request.user, uuid)
    saved_queues.delete(saved=saved)
    messages.info(request, f"Deleted the saved queue “{saved.name}”.")
    return SeeOther(reverse("moderation:queue-list"))

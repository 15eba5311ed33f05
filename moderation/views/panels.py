"""Responses of the desk's actions: a panel, the next panel, or an error.

With JavaScript, the desk is a deck: the next images are claimed, sent and decoded ahead. A verdict
(with ``deck`` in the POST) is then answered with panels that refill the deck, never with a page.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from generation.core.htmx import respond
from generation.wire.parsing import parse_integer
from moderation.forms.decisions import NOTE_MAX
from moderation.models import Preferences, Review, Verdict
from moderation.models.preferences import ImageCover
from moderation.models.reviews import UNDO_WINDOW
from moderation.presenters.panel import (
    SURROUNDS,
    build_panel,
    choose_next_surround,
    count_undo_seconds,
    sidebar,
    viewer,
)
from moderation.presenters.partials import render_hidden_fields, render_part
from moderation.queues import Queue
from moderation.services import claims, decisions
from moderation.views.access import DeskRequest, SeeOther, get_review_for, parse_uuids
from moderation.views.skips import get_skipped

STATUS_OF: dict[type[decisions.DecisionError], int] = {
    decisions.NotPermittedError: 403,
    decisions.ConflictError: 409,
    decisions.InvalidDecisionError: 422,
}
DECK_MAX = 8


def is_deck(request: HttpRequest) -> bool:
    return "deck" in request.POST


# --- The deck ---


def claim_options(
    request: DeskRequest, queue: Queue, preferences: Preferences
) -> claims.ClaimOptions:
    """Return the parameters of the deck's claims: ``want`` panels, one by default."""
    wanted = parse_integer(request.POST.get("want", ""))
    return {
        "queue": queue,
        "count": 1 if wanted is None else min(wanted, DECK_MAX),
        "skipped": get_skipped(request, queue),
        "avoided": preferences.avoided_today(),
    }


def refill_deck(request: DeskRequest, queue: Queue) -> HttpResponse:
    """Claim the panels that the deck lacks, and render them; none if the queue has no more.

    With ``held`` in the POST, missing reviews are replaced by claims of the user that the page does
    not show (``have``).
    """
    preferences = Preferences.for_user(request.user)
    options = claim_options(request, queue, preferences)
    claimed = claims.claim_for_desk(user=request.user, **options)
    missing = options["count"] - len(claimed)
    if missing > 0 and "held" in request.POST:
        shown = {*parse_uuids(request.POST.getlist("have")), *(review.uuid for review in claimed)}
        options["count"] = missing
        claimed += claims.reclaim(user=request.user, shown=shown, **options)
    return render_deck(request, queue, preferences, claimed)


def render_deck(
    request: DeskRequest, queue: Queue, preferences: Preferences, claimed: Iterable[Review]
) -> HttpResponse:
    """Render the panels of claimed reviews."""
    return _render_panels(
        [_build_context(request, review, queue, preferences) for review in claimed]
    )


def _render_panels(contexts: Iterable[dict[str, Any]], *, status: int = 200) -> HttpResponse:
    """Render panels one after the other. The script keeps them until they are shown."""
    return HttpResponse(
        "".join(render_part("panel", context) for context in contexts), status=status
    )


# --- Without a deck, or for another image than the next ---


def show_next(request: DeskRequest, queue: Queue) -> HttpResponse:
    """Claim and show the next image of the queue; the queue's page if none is left."""
    if is_deck(request):
        return refill_deck(request, queue)
    avoided = Preferences.for_user(request.user).avoided_today()
    review = decisions.claim_next(
        user=request.user, queue=queue, skipped=get_skipped(request, queue), avoided=avoided
    )
    if review is None:
        withheld = (
            " Images that you requested, and disagreements that you are part of, are "
            "decided by others."
        )
        reason = withheld if queue.withholds(request.user) else ""
        messages.info(request, f"Nothing is left for you in “{queue.name}”.{reason}")
        return redirect_to(request, queue.get_absolute_url())
    return go_to_review(request, review, queue)


def go_to_review(
    request: DeskRequest, review: Review, queue: Queue | None, **extra: Any
) -> HttpResponse:
    """Show a review in its current state."""
    url = build_review_url(review, queue)
    if not request.htmx and not is_deck(request):
        return SeeOther(url)
    response = render_review(
        request, get_review_for(request.user, review.uuid, for_screen=True), queue, **extra
    )
    response["HX-Push-Url"] = url
    return response


def redirect_to(request: DeskRequest, url: str) -> HttpResponse:
    """Redirect, also under htmx."""
    return HttpResponseClientRedirect(url) if request.htmx else SeeOther(url)


def render_error(
    request: DeskRequest,
    review: Review | decisions.ReviewRef,
    queue: Queue | None,
    error: decisions.DecisionError,
    **extra: Any,
) -> HttpResponse:
    """Return the review's current panel with the error."""
    fresh = get_review_for(request.user, review.uuid, for_screen=True)
    return render_review(
        request, fresh, queue, status=STATUS_OF[type(error)], problem=str(error), **extra
    )


def render_review(
    request: DeskRequest, review: Review, queue: Queue | None, *, status: int = 200, **extra: Any
) -> HttpResponse:
    """Return the review's page or, to htmx, the part it asks for."""
    preferences = Preferences.for_user(request.user)
    if request.htmx and request.htmx.target == "viewer":
        return HttpResponse(
            render_part(
                "viewer",
                {
                    **_build_cover_context(request, review, queue, preferences),
                    **viewer(request.user, review, queue),
                },
            )
        )
    context = _build_context(request, review, queue, preferences, **extra)
    if is_deck(request):
        return _render_panels([context], status=status)
    context |= sidebar(request.user) | {
        "undo_seconds": count_undo_seconds(decisions.find_undoable(user=request.user)),
        "undo_window": int(UNDO_WINDOW.total_seconds()),
    }
    return respond(
        request, "moderation/review.html", "moderation/_review.html", context, status=status
    )


def _build_context(
    request: DeskRequest,
    review: Review,
    queue: Queue | None,
    preferences: Preferences,
    **extra: Any,
) -> dict[str, Any]:
    return {
        **_build_cover_context(request, review, queue, preferences),
        "user": request.user,
        "chosen": [],
        **build_panel(user=request.user, review=review, queue=queue),
        **extra,
    }


def _build_cover_context(
    request: DeskRequest, review: Review, queue: Queue | None, preferences: Preferences
) -> dict[str, Any]:
    """Build the context of the initial cover and its controls."""
    wish = request.GET.get("reveal", "") if request.META["QUERY_STRING"] else ""
    cover = preferences.cover_for(review.top_category_l1)
    return {
        "preferences": preferences,
        "revealed": wish == "1" or (wish != "0" and cover != ImageCover.BLUR),
        "is_grey": cover == ImageCover.GREY,
        "next_surround": choose_next_surround(preferences),
        "surrounds": " ".join(SURROUNDS),
        "address": build_review_url(review, queue),
        "query": build_queue_query(queue),
        "queue": queue,
        "hidden": render_hidden_fields(request, queue),
    }


def build_review_url(review: Review, queue: Queue | None) -> str:
    return review.get_absolute_url() + build_queue_query(queue)


def build_queue_query(queue: Queue | None) -> str:
    """Return the query string that keeps the queue, or ""."""
    return f"?queue={_quote(queue.key)}" if queue else ""


_quote = lru_cache(maxsize=1024)(quote_plus)


def read_submitted(request: HttpRequest) -> dict[str, Any]:
    """Return the submitted fields, so that an error loses no input."""
    return {
        "chosen": request.POST.getlist("categories"),
        "note": request.POST.get("note", "")[:NOTE_MAX],
        "wants_categories": request.POST.get("verdict") == Verdict.REJECT,
    }


def build_exit_url(queue: Queue | None) -> str:
    return queue.get_absolute_url() if queue else reverse("home")

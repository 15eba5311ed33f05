"""Pages of the released look-alikes of a rejected image."""

from __future__ import annotations

from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from moderation.models import Review
from moderation.presenters.look_alikes import build_look_alikes
from moderation.services import decisions, look_alikes
from moderation.views.access import DeskRequest, SeeOther, get_review_for, parse_uuids
from moderation.views.batches import get_batch_for
from moderation.views.panels import STATUS_OF
from moderation.views.verdicts import parse_note


@require_GET
def look_alike_list(request: DeskRequest, uuid: UUID) -> HttpResponse:
    return _render_page(request, _get_review(request, uuid))


@require_GET
def look_alike_count(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Return a line with the number of released look-alikes, for htmx; 204 if there are none."""
    review = _get_review(request, uuid)
    count = len(look_alikes.find_released(review=review, user=request.user))
    if not count:
        return HttpResponse(status=204)
    context = {"review": review, "count": count}
    return render(request, "moderation/_look_alikes.html", context)


@require_GET
@permission_required("moderation.view_decision", raise_exception=True)
def batch_look_alike_list(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Show the images of a batch that have released look-alikes."""
    context = {"batch": get_batch_for(request.user, uuid), "found": _list_by_batch(request, uuid)}
    return render(request, "moderation/batch_look_alikes.html", context)


@require_GET
@permission_required("moderation.view_decision", raise_exception=True)
def batch_look_alike_count(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Return a line with the number of look-alikes of a batch, for htmx; 204 if there are none."""
    batch = get_batch_for(request.user, uuid)
    found = _list_by_batch(request, uuid)
    if not found:
        return HttpResponse(status=204)
    context = {"batch": batch, "found": found}
    return render(request, "moderation/_batch_look_alikes.html", context)


def _list_by_batch(request: DeskRequest, uuid: UUID) -> list[tuple[Review, int]]:
    return look_alikes.list_released_by_batch(batch=uuid, user=request.user)


@require_POST
def look_alike_withdraw(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Withdraw the chosen look-alikes, and show the batch."""
    review = _get_review(request, uuid)
    batch = next(iter(parse_uuids(request.POST.getlist("batch"))), None)
    try:
        outcome = look_alikes.withdraw(
            review=review,
            user=request.user,
            chosen=set(parse_uuids(request.POST.getlist("review"))),
            note=parse_note(request.POST),
            batch=batch,
        )
    except decisions.DecisionError as error:
        return _render_page(request, review, status=STATUS_OF[type(error)], problem=str(error))
    if not outcome.done:
        return _render_page(request, review, status=409, problem=outcome.message)
    count = len(outcome.done)
    verb = outcome.done[0].past_tense.capitalize()
    message = f"{verb}: {count} image{pluralize(count)} that looked like {review.asset.short_id}."
    messages.info(request, " ".join(filter(None, (message, outcome.message))))
    return SeeOther(reverse("moderation:batch-detail", args=[outcome.batch]))


def _get_review(request: DeskRequest, uuid: UUID) -> Review:
    review = get_review_for(request.user, uuid, for_screen=True)
    if review.is_blind_to(request.user):  # the page would tell the first decision
        raise PermissionDenied
    return review


def _render_page(
    request: DeskRequest, review: Review, *, status: int = 200, problem: str = ""
) -> HttpResponse:
    chosen = set(parse_uuids(request.POST.getlist("review")))
    context = build_look_alikes(user=request.user, review=review)
    found = {one.review.uuid for one in context["found"]}
    context |= {
        "problem": problem,
        "note": request.POST.get("note", ""),
        "unchecked": found - chosen if request.method == "POST" else set(),
        "batch": uuid4(),
    }
    return render(request, "moderation/look_alikes.html", context, status=status)

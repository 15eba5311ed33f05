"""Pages of batches: decisions that were made together, and their reversal."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from moderation.presenters.batches import Batch, load_batch
from moderation.presenters.bulk import SheetOptions
from moderation.services import batches, decisions
from moderation.views.access import DeskRequest, SeeOther, find_queue_for
from moderation.views.panels import STATUS_OF
from moderation.views.sheet import render_outcome, render_sheet
from moderation.views.verdicts import parse_note

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def get_batch_for(user: User, uuid: UUID) -> Batch:
    """Return a batch, or raise Http404 if it has no decisions."""
    batch = load_batch(user=user, uuid=uuid)
    if batch is None:
        raise Http404
    return batch


@require_GET
@permission_required("moderation.view_decision", raise_exception=True)
def batch_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    return _render_page(request, uuid)


@require_POST
@permission_required("moderation.view_decision", raise_exception=True)
def batch_reverse(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Reverse the batch as far as possible; return to its sheet or its page."""
    get_batch_for(request.user, uuid)
    queue = find_queue_for(request.user, request.POST)
    options = (
        SheetOptions.read(queue, QueryDict(request.POST.get("sight", "")))
        if queue is not None
        else None
    )
    try:
        outcome = batches.reverse_many(batch=uuid, user=request.user, note=parse_note(request.POST))
    except decisions.DecisionError as error:
        status, problem = STATUS_OF[type(error)], str(error)
        if options is not None:
            return render_sheet(request, options, status=status, problem=problem)
        return _render_page(request, uuid, status=status, problem=problem)
    if options is not None:
        return render_outcome(request, options, outcome, "Reversed:")
    count = len(outcome.done)
    message = (
        f"Reversed: {count} decision{pluralize(count)}. The images are "
        "open again, and you hold them."
    )
    messages.info(request, " ".join(filter(None, (message, outcome.message))))
    return SeeOther(reverse("moderation:batch-detail", args=[uuid]))


def _render_page(
    request: DeskRequest, uuid: UUID, *, status: int = 200, problem: str = ""
) -> HttpResponse:
    batch = get_batch_for(request.user, uuid)
    return render(
        request, "moderation/batch_detail.html", {"batch": batch, "problem": problem}, status=status
    )

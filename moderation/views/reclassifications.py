"""Pages to run classifiers again, and of new findings on images that were approved before."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from generation.models import InvalidTransitionError
from moderation.forms.reclassifications import ReclassificationForm
from moderation.models import NewFinding, Reclassification
from moderation.presenters import reclassifications as presenter
from moderation.services import reclassification
from moderation.services.reclassification import ReclassificationError
from moderation.views.access import DeskRequest, SeeOther


@require_GET
@permission_required("moderation.view_reclassification", raise_exception=True)
def reclassification_list(request: DeskRequest) -> HttpResponse:
    return render(request, "moderation/reclassification_list.html", presenter.build_list())


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.add_reclassification", raise_exception=True)
def reclassification_create(request: DeskRequest) -> HttpResponse:
    """Show what an order would do and cost; store it when that is confirmed."""
    form = ReclassificationForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        return _render_form(request, form, status=422)
    given = form.cleaned_data["order"]
    if given and Reclassification.objects.filter(uuid=given).exists():
        return SeeOther(reverse("moderation:reclassification-list"))
    try:
        estimate = reclassification.estimate(form.selection)
        if request.method != "POST" or "confirmed" not in request.POST:
            return _render_form(request, form, estimate=estimate)
        if not estimate.images:
            raise ReclassificationError("There is nothing to run again.")
        reclassification.order(
            selection=form.selection,
            per_minute=form.cleaned_data["per_minute"],
            user=request.user,
            expected=estimate.images,
            uuid=given,
        )
    except ReclassificationError as error:
        return _render_form(request, form, status=422, problem=str(error))
    messages.success(
        request,
        f"Classifiers run again on {estimate.images:,} image{pluralize(estimate.images)}.",
    )
    return SeeOther(reverse("moderation:reclassification-list"))


def _render_form(
    request: DeskRequest,
    form: ReclassificationForm,
    *,
    estimate: reclassification.Estimate | None = None,
    status: int = 200,
    problem: str = "",
) -> HttpResponse:
    context = presenter.build_form(form=form, estimate=estimate, problem=problem)
    return render(request, "moderation/reclassification_new.html", context, status=status)


@require_POST
@permission_required("moderation.change_reclassification", raise_exception=True)
def reclassification_cancel(request: DeskRequest, uuid: UUID) -> HttpResponse:
    order = get_object_or_404(Reclassification, uuid=uuid)
    try:
        reclassification.cancel(order)
    except InvalidTransitionError:
        messages.error(request, "This order has ended already.")
    else:
        messages.info(request, "Cancelled. Images that are already scheduled are still classified.")
    return SeeOther(reverse("moderation:reclassification-list"))


@require_GET
@permission_required("moderation.decide_escalated_review", raise_exception=True)
def new_finding_list(request: DeskRequest) -> HttpResponse:
    return render(request, "moderation/new_finding_list.html", presenter.build_findings())


@require_POST
@permission_required("moderation.decide_escalated_review", raise_exception=True)
def new_finding_check(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Take the finding of a review off the list."""
    rows = NewFinding.objects.filter(review__uuid=uuid)
    finding = get_object_or_404(rows.select_related("review__asset"))
    rows.filter(seen_at__isnull=True).update(seen_at=timezone.now(), seen_by=request.user)
    messages.info(request, f"Image {finding.review.asset.short_id} is off the list.")
    return SeeOther(reverse("moderation:new-finding-list"))

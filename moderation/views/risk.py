"""Risk by prompt word, model, LoRA, requester and time, as pages, JSON and CSV."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from moderation.models import RiskKind
from moderation.presenters import insights, risk
from moderation.services.risk_stats import WINDOWS
from moderation.views.access import DeskRequest

may_read = permission_required("moderation.view_riskreport", raise_exception=True)
URL_NAME = "moderation:insight-risk"


@require_GET
@may_read
def insight_risk(request: DeskRequest) -> HttpResponse:
    """Show the riskiest properties of each kind in a window (``days``)."""
    days = risk.parse_days(request.GET.get("days", ""))
    if days is None:
        return _refuse_days()
    context = risk.build_page(days, user=request.user)
    context["tabs"] = insights.list_tabs(URL_NAME)
    return render(request, "moderation/insight_risk.html", context)


@require_GET
@may_read
def insight_risk_kind(request: DeskRequest, kind: str) -> HttpResponse:
    """Show all listed properties of one kind in a window (``days``)."""
    if kind not in RiskKind.values or kind == RiskKind.ALL:
        raise Http404
    days = risk.parse_days(request.GET.get("days", ""))
    if days is None:
        return _refuse_days()
    context = risk.build_kind_page(RiskKind(kind), days, user=request.user)
    context["tabs"] = insights.list_tabs(URL_NAME)
    return render(request, "moderation/insight_risk_kind.html", context)


@require_GET
@may_read
def insight_risk_json(request: DeskRequest) -> HttpResponse:
    """Return the figures of a window (``days``) as JSON."""
    days = risk.parse_days(request.GET.get("days", ""))
    if days is None:
        return _refuse_days()
    return JsonResponse(risk.build_document(days, user=request.user))


@require_GET
@may_read
@permission_required("moderation.export_decision", raise_exception=True)
def insight_risk_csv(request: DeskRequest) -> HttpResponse:
    """Return the figures of a window (``days``) as CSV."""
    days = risk.parse_days(request.GET.get("days", ""))
    if days is None:
        return _refuse_days()
    content = risk.write_csv(days, user=request.user)
    response = HttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="loupe-risk-{days}-days.csv"'
    return response


def _refuse_days() -> HttpResponse:
    message = f"There are windows of {', '.join(map(str, WINDOWS))} days."
    return HttpResponse(message, status=400, content_type="text/plain; charset=utf-8")

"""Insights: figures over time as pages, JSON and CSV."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from moderation.presenters import classifier_figures, insights, judgement
from moderation.presenters.period_series import SPANS
from moderation.views.access import DeskRequest

may_read = permission_required("moderation.view_periodcount", raise_exception=True)


@require_GET
@may_read
def insight_page(request: DeskRequest, section: str) -> HttpResponse:
    """Show the figures of a section over a span (``span``)."""
    span = insights.parse_span(request.GET.get("span", ""))
    if span is None:
        return _refuse_span()
    return render(request, "moderation/insights.html", insights.build_page(section, span))


@require_GET
@may_read
def insight_classifiers(request: DeskRequest) -> HttpResponse:
    """Show the figures on classifiers of a window (``days``)."""
    days = judgement.parse_days(request.GET.get("days", "")) or judgement.DAYS_DEFAULT
    context = classifier_figures.build_classifiers(days)
    return render(request, "moderation/insight_classifiers.html", context)


@require_GET
@may_read
def insight_json(request: DeskRequest) -> HttpResponse:
    """Return all figures over a span as JSON."""
    span = insights.parse_span(request.GET.get("span", ""))
    return JsonResponse(insights.build_document(span)) if span else _refuse_span()


@require_GET
@may_read
@permission_required("moderation.export_decision", raise_exception=True)
def insight_csv(request: DeskRequest) -> HttpResponse:
    """Return one figure (``figure``), or all, over a span as CSV."""
    span = insights.parse_span(request.GET.get("span", ""))
    if span is None:
        return _refuse_span()
    name = request.GET.get("figure", "")
    content = insights.write_csv(span, name)
    if content is None:
        return _refuse("There is no such figure. The names are those in /insights.json.")
    response = HttpResponse(content, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = (
        f'attachment; filename="loupe-{name or "insights"}-{span.slug}.csv"'
    )
    return response


def _refuse_span() -> HttpResponse:
    return _refuse(f"There are figures over these spans: {', '.join(SPANS)}.")


def _refuse(message: str) -> HttpResponse:
    return HttpResponse(message, status=400, content_type="text/plain; charset=utf-8")

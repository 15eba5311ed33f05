"""The page Operations: alarms, faults and plots, for operators."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from moderation.presenters import insights
from moderation.presenters.operations import build_operations
from moderation.presenters.period_series import SPANS
from moderation.services.alarms import checks, notices
from moderation.views.access import DeskRequest, SeeOther

VIEW = "moderation.view_operations"
SPAN_DEFAULT = "24h"


@require_GET
@permission_required(VIEW, raise_exception=True)
def operations(request: DeskRequest) -> HttpResponse:
    """Show alarms, the last faults, and the counters over a span (``span``)."""
    span = insights.parse_span(request.GET.get("span", "") or SPAN_DEFAULT)
    if span is None:
        message = f"There are figures over these spans: {', '.join(SPANS)}."
        return HttpResponse(message, status=400, content_type="text/plain; charset=utf-8")
    context = {**build_operations(span), "span": span, "spans": SPANS.values()}
    return render(request, "moderation/operations.html", context)


@require_POST
@permission_required(VIEW, raise_exception=True)
def alarm_test(request: DeskRequest) -> HttpResponse:
    """Open a test alarm, which sends its notices like any other."""
    if not notices.list_channels():
        messages.error(request, "Alarms are sent nowhere. Set ALARM_MAIL or ALARM_WEBHOOK_URL.")
        return SeeOther(reverse("moderation:operations"))
    checks.open_test_alarm()
    messages.success(
        request, "The test alarm is open. A worker sends it now, and its end in about five minutes."
    )
    return SeeOther(reverse("moderation:operations"))

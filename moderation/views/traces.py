"""Page of the traces of looking and exporting."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from generation.wire.parsing import parse_integer
from moderation.forms.traces import TraceFilterForm
from moderation.presenters.traces import build_traces
from moderation.views.access import DeskRequest


@require_GET
@permission_required("moderation.view_accesstrace", raise_exception=True)
def trace_list(request: DeskRequest) -> HttpResponse:
    """List the traces, newest first. Invalid filters show nothing rather than everything."""
    form = TraceFilterForm(request.GET)
    before = parse_integer(request.GET.get("before", ""))
    return render(request, "moderation/trace_list.html", build_traces(form, before))

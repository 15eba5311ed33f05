"""The list of events that Loupe sends to programs, for operators."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moderation.presenters import deliveries as presenter


@require_safe
@permission_required("moderation.view_operations", raise_exception=True)
def delivery_list(request: HttpRequest) -> HttpResponse:
    context = presenter.build_list(
        status=request.GET.get("status", ""), before=request.GET.get("before", "")
    )
    return render(request, "moderation/delivery_list.html", context)

"""The page Today."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from generation.core.htmx import respond
from moderation.presenters.dashboard import build_dashboard
from moderation.views.access import DeskRequest


@require_GET
def home(request: DeskRequest) -> HttpResponse:
    """Return the page; to its own poll, only the numbers and lists."""
    context = build_dashboard(request.user, with_plots=not request.htmx)
    return respond(request, "home.html", "_home_numbers.html", context)

"""Error pages."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from axes.helpers import get_cool_off
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache

from generation.core.log_context import get_request_id
from generation.core.outages import RETRY_AFTER, find_outage

OUTAGE = "Loupe cannot reach its database or its queue. Try again in a moment."


@login_not_required
def unknown_url(request: HttpRequest) -> NoReturn:
    """Match any other URL and raise a 404 for DebugNotFoundMiddleware. Used with DEBUG only."""
    raise Http404


@login_not_required
def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an unhandled error: 503 during an outage of database or Redis, else 500."""
    if find_outage(sys.exc_info()[1]) is None:
        return HttpResponse(_render("500.html"), status=500)
    return show_outage(request)


def _render(template: str) -> str:
    """Render an error page without the request, whose context may be what fails."""
    return render_to_string(template, {"request_id": get_request_id()})


@never_cache
def show_outage(request: HttpRequest) -> HttpResponse:
    """Render the outage page without context; for htmx return the message as text."""
    headers = {"Retry-After": str(RETRY_AFTER)}
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(OUTAGE, status=503, headers=headers, content_type="text/plain")
    return HttpResponse(_render("503.html"), status=503, headers=headers)


def show_lockout(
    request: HttpRequest, response: HttpResponse | None, credentials: Any
) -> HttpResponse:
    """Answer a log-in attempt that is locked after too many wrong passwords."""
    locked = render(request, "account/locked.html", status=settings.AXES_HTTP_RESPONSE_CODE)
    if cool_off := get_cool_off(request):
        locked["Retry-After"] = str(int(cool_off.total_seconds()))
    return locked


def show_rate_limit(request: HttpRequest) -> HttpResponse:
    """Answer a page of the log-in that was requested too often in a minute."""
    limited = render(request, "429.html", status=429)
    limited["Retry-After"] = "60"
    return limited

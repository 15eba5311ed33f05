"""Rendering of a page, or of its htmx part alone. A page includes its part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails


class HtmxHttpRequest(HttpRequest):
    """A request as HtmxMiddleware passes it to views."""

    htmx: HtmxDetails


def respond(
    request: HttpRequest, page: str, part: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render the page, or to htmx only the part that it swaps in."""
    details: HtmxDetails | None = getattr(request, "htmx", None)
    response = render(request, part if details else page, dict(context), status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response

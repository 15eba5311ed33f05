"""Headers that every answer carries."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.views.defaults import page_not_found

PRIVATE = "max-age=0, no-cache, no-store, must-revalidate, private"
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


class LapsedSessionMiddleware:
    """Send htmx to the whole login page; following the redirect, it would put that page into a part of this one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        target = response.get("Location", "")
        if (
            target
            and target.startswith(resolve_url(settings.LOGIN_URL))
            and request.headers.get("HX-Request") == "true"
        ):
            login = resolve_url(settings.LOGIN_URL)
            # Back to the page that the person was on, which is not the address that htmx asked for.
            page = urlsplit(request.headers.get("HX-Current-URL", ""))
            back = urlencode({REDIRECT_FIELD_NAME: f"{page.path}?{page.query}" if page.query else page.path or "/"})
            response = HttpResponse(status=204, headers={"HX-Redirect": f"{login}?{back}"})
        return response


class DebugNotFoundMiddleware:
    """Answer a missing page with Loupe's own 404 page, where DEBUG would show Django's technical one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return page_not_found(request, exception) if isinstance(exception, Http404) else None


class PrivateByDefaultMiddleware:
    """Keep pages out of caches, unless the view has said otherwise, and out of other sites' reach."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cache-Control", PRIVATE)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response

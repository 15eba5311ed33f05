"""Limits of what may come in, and headers that every answer carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.template.loader import render_to_string
from django.views.defaults import page_not_found

PRIVATE = "max-age=0, no-cache, no-store, must-revalidate, private"
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "autoplay",
        "bluetooth",
        "browsing-topics",
        "camera",
        "display-capture",
        "encrypted-media",
        "gamepad",
        "geolocation",
        "gyroscope",
        "hid",
        "idle-detection",
        "local-fonts",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "screen-wake-lock",
        "serial",
        "usb",
        "web-share",
        "xr-spatial-tracking",
    )
)
PATH_MAX = 2048  # characters; our longest, a signed image's, has some 150


class InputLimitsMiddleware:
    """Refuse what no page of ours sends and no text may hold.

    Paths are matched against patterns, some of them Django's, that take the square of a path's
    length. NUL is refused because PostgreSQL stores none. Forms refuse it too, with a sentence
    beside the field; this is for what is read without one. Programs' views, which are exempt from
    CSRF checks, refuse it in their own formats.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if len(request.path) > PATH_MAX:
            sentence = f"The path of this address is longer than {PATH_MAX} characters.\n"
            return HttpResponse(sentence, status=414, content_type="text/plain; charset=utf-8")
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], *_: Any
    ) -> HttpResponse | None:
        if getattr(view, "csrf_exempt", False):
            return None
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return _refuse("The address holds a NUL character, which no text may contain.")
        # CsrfViewMiddleware has read the form by now, so looking at it costs nothing.
        if request.method == "POST" and any(
            "\0" in value for name, values in request.POST.lists() for value in (name, *values)
        ):
            return _refuse("A field of the form holds a NUL character, which no text may contain.")
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Django's admin hands numbers of any size to the database, which refuses them: each
        database in its way.
        """
        is_admin = (
            request.resolver_match is not None and "admin" in request.resolver_match.app_names
        )
        if is_admin and isinstance(exception, OverflowError | DataError):
            return _refuse("The address or the form holds a number or a time that is out of range.")
        return None


def _refuse(reason: str) -> HttpResponse:
    return HttpResponse(render_to_string("400.html", {"reason": reason}), status=400)


def _path_of(url: str) -> str:
    """The path and query of an address; that of the first page for what is none."""
    try:
        page = urlsplit(url)
    except ValueError:
        return "/"
    return f"{page.path}?{page.query}" if page.query else page.path or "/"


class LapsedSessionMiddleware:
    """Send htmx to the whole login page; following the redirect, it would put that page into a part
    of this one.
    """

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
            back = urlencode(
                {REDIRECT_FIELD_NAME: _path_of(request.headers.get("HX-Current-URL", ""))}
            )
            response = HttpResponse(status=204, headers={"HX-Redirect": f"{login}?{back}"})
        return response


class IsolationMiddleware:
    """Keep every answer, static files too, out of other sites' reach, and switch off what no page
    here uses.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response


class DebugNotFoundMiddleware:
    """Answer a missing page with Loupe's own 404 page, where DEBUG would show Django's technical
    one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return page_not_found(request, exception) if isinstance(exception, Http404) else None


class PrivateByDefaultMiddleware:
    """Keep pages out of caches, unless the view has said otherwise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cache-Control", PRIVATE)
        return response

"""Limits for requests, and headers for all responses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from csp.constants import HEADER as CSP_HEADER
from csp.middleware import CSPMiddleware
from csp.utils import build_policy
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.db import DatabaseError, DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.defaults import page_not_found

from config.auth import login_log
from generation.core import recent_login
from moderation.services import browser_sessions

log = logging.getLogger("loupe.sessions")
log_in = logging.getLogger("loupe.login")

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
# Requests that an open page sends by itself, whether or not somebody sits in front of it. Those of
# htmx carry the header X-Poll (static/js/page/htmx_answers.js).
POLLS = {"moderation:live", "moderation:arrivals", "moderation:claim-renewal"}
PATH_MAX = 2048  # characters; our longest path, of a signed image, has about 150


class InputLimitsMiddleware:
    """A middleware that refuses requests with an overlong path or a NUL character.

    URL patterns, some of them Django's, need quadratic time in the length of the path. NUL is
    refused because PostgreSQL cannot store it. Forms refuse it too, with a message beside the
    field; this covers values that no form validates. API views, which are exempt from CSRF checks,
    refuse it in their own formats.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if len(request.path) > PATH_MAX:
            message = f"The path of this URL is longer than {PATH_MAX} characters.\n"
            return HttpResponse(message, status=414, content_type="text/plain; charset=utf-8")
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], *_: Any
    ) -> HttpResponse | None:
        if getattr(view, "csrf_exempt", False):
            return None
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            return _render_refusal("The URL contains a NUL character, which is not allowed.")
        # CsrfViewMiddleware has already parsed the form, so this costs nothing.
        if request.method == "POST" and any(
            "\0" in value for name, values in request.POST.lists() for value in (name, *values)
        ):
            return _render_refusal(
                "A field of the form contains a NUL character, which is not allowed."
            )
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return 400 when the admin passes an out-of-range number to the database.

        Each database raises its own error.
        """
        is_admin = (
            request.resolver_match is not None and "admin" in request.resolver_match.app_names
        )
        if is_admin and isinstance(exception, OverflowError | DataError):
            return _render_refusal(
                "The URL or the form contains a number or a time that is out of range."
            )
        return None


def _render_refusal(reason: str) -> HttpResponse:
    return HttpResponse(render_to_string("400.html", {"reason": reason}), status=400)


def _extract_path(url: str) -> str:
    """Return path and query of a URL; "/" if it is not a URL."""
    try:
        page = urlsplit(url)
    except ValueError:
        return "/"
    return f"{page.path}?{page.query}" if page.query else page.path or "/"


class LapsedSessionMiddleware:
    """A middleware that sends htmx to the login page with HX-Redirect.

    An ordinary redirect would put the login page into a part of the current page.
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
            # Return to the person's page, not to the URL that htmx requested.
            back = urlencode(
                {REDIRECT_FIELD_NAME: _extract_path(request.headers.get("HX-Current-URL", ""))}
            )
            response = HttpResponse(status=204, headers={"HX-Redirect": f"{login}?{back}"})
        return response


class IsolationMiddleware:
    """A middleware that gives every response the security headers that it lacks.

    The first of all, so that probes, static files, redirects and errors have them too. The headers
    isolate responses from other sites and disable browser features. The strict policy is for
    responses without a page.
    """

    HEADERS: ClassVar[dict[str, str]] = {
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": settings.SECURE_CROSS_ORIGIN_OPENER_POLICY or "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": PERMISSIONS_POLICY,
        "Referrer-Policy": settings.SECURE_REFERRER_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": settings.X_FRAME_OPTIONS,
    }

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in self.HEADERS.items():
            response.setdefault(name, value)
        if response.status_code >= 400:
            response.setdefault("Cache-Control", PRIVATE)
        return response


class DebugNotFoundMiddleware:
    """A middleware that returns Loupe's own 404 page, also with DEBUG."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, Http404):
            return None
        response = page_not_found(request, exception)
        # With DEBUG, django-csp sets no policy on a 404, because it expects Django's own page.
        policy = CSPMiddleware(self.get_response).get_policy_parts(request, response)
        response[CSP_HEADER] = build_policy(**asdict(policy))
        return response


class PrivateByDefaultMiddleware:
    """A middleware that forbids caching, unless the view has set a policy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cache-Control", PRIVATE)
        return response


class ActivityMiddleware:
    """A middleware that notes when people use their sessions, once in five minutes a process.

    The times of the last notes are kept in this process, so that other requests cost no query.
    """

    INTERVAL = browser_sessions.NOTE_INTERVAL.total_seconds()
    REMEMBERED_MAX = 10_000

    noted: ClassVar[dict[str, float]] = {}

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        session = request.session
        # An unread session belongs to a request without a person, for example to the API.
        if session.accessed and response.status_code < 500 and not self._is_poll(request):
            self.note(request, request.user, session.session_key)
        return response

    @staticmethod
    def _is_poll(request: HttpRequest) -> bool:
        """Return whether an open page asks by itself: that is no activity of a person."""
        match = request.resolver_match
        return request.headers.get("X-Poll") == "1" or (
            match is not None and match.view_name in POLLS
        )

    @classmethod
    def note(cls, request: HttpRequest, user: Any, key: str | None) -> None:
        """Note the person's activity, unless that was done a short time ago."""
        now = time.monotonic()
        if key is None or now - cls.noted.get(key, -cls.INTERVAL) < cls.INTERVAL:
            return
        if not user.is_authenticated:
            return
        if len(cls.noted) >= cls.REMEMBERED_MAX:
            cls.noted.clear()
        cls.noted[key] = now
        moment = timezone.now()
        try:
            browser_sessions.note_activity(
                user_id=user.pk,
                session_key=key,
                user_agent=request.headers.get("User-Agent", ""),
                ip_address=request.META.get("REMOTE_ADDR", ""),
                methods=login_log.describe_methods(request, user),
                now=moment,
            )
            started_at = request.session.get(browser_sessions.STARTED_AT)
            if started_at is not None:
                browser_sessions.extend(session_key=key, started_at=started_at, now=moment)
        except DatabaseError:
            # The page is already rendered and must not fail for this.
            log.exception("The activity of a session was not stored")


def note_login(request: HttpRequest, user: Any, **_: Any) -> None:
    """Receive ``user_logged_in``: a new session is listed, and limited, from its first moment."""
    request.session[browser_sessions.STARTED_AT] = int(time.time())
    recent_login.note_login(request)
    at_provider = request.session.pop(recent_login.AT_PROVIDER, None)
    methods = login_log.describe_methods(request, user)
    # A second factor here is asked after the provider's answer, so it is the newer proof.
    if at_provider is not None and methods == login_log.NAMES["socialaccount"]:
        recent_login.note_login(request, at=at_provider)
    log_in.info("Logged in: account %s, by %s", user.pk, methods or "an unknown method")
    ActivityMiddleware.note(request, user, request.session.session_key)

"""Views that need a recent log-in: exports, keys, roles, policies in force."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import STATE_SESSION_KEY
from allauth.core.internal.httpkit import serialize_request
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse

SESSION_KEY = "logged_in_at"
AT_PROVIDER = "logged_in_at_provider"  # in the session, until the log-in here is complete
REQUIRED = "Log in again to do this: your last log-in is too long ago."
KEPT_HEADERS = ("CONTENT_", "HTTP_", "PATH_", "QUERY_", "REMOTE_", "REQUEST_", "SCRIPT_", "SERVER_")
SECRET_HEADERS = {"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_PROXY_AUTHORIZATION"}
NOT_KEPT = "Nothing was saved: passwords are not kept in between. Enter the form again afterwards."


def note_login(request: HttpRequest, at: float | None = None) -> None:
    """Note in the session when the person has proven who they are: now, or before, at ``at``."""
    now = time.time()
    request.session[SESSION_KEY] = int(now if at is None else min(at, now))


def is_recent(request: HttpRequest, minutes: int | None = None) -> bool:
    """Return whether the last log-in was less than ``minutes`` ago.

    Without ``minutes`` the setting RECENT_LOGIN_MINUTES applies; if that is 0, all log-ins are
    recent.
    """
    if settings.RECENT_LOGIN_MINUTES == 0:
        return True
    limit = 60 * (settings.RECENT_LOGIN_MINUTES if minutes is None else minutes)
    age = time.time() - request.session.get(SESSION_KEY, 0)
    return bool(-5 <= age < limit)  # clocks of two hosts may differ by some seconds


def requires_recent_login(
    minutes: int | None = None, *, is_download: bool = False, also_to_read: bool = False
) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Return a decorator that asks who the person is, unless they have logged in recently.

    GET and HEAD pass, unless ``also_to_read``. The request continues afterwards, a form with what
    was entered. ``is_download``: the view answers GET with a file, so a page that starts the
    download follows. htmx is sent to the question and back to its page; a request that wants JSON
    gets 403.

    Place it below the check of the permission. Uploaded files, and forms with a password, are not
    kept.
    """

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            is_read = request.method in {"GET", "HEAD"} and not (is_download or also_to_read)
            if is_read or is_recent(request, minutes):
                return view(request, *args, **kwargs)
            return ask_again(request, is_download=is_download)

        return wrapper

    return decorate


def ask_again(request: HttpRequest, *, is_download: bool = False) -> HttpResponse:
    """Return the way to the question. A form is kept in the session, to continue it."""
    request.session.pop(STATE_SESSION_KEY, None)  # of a question that was not answered
    if request.headers.get("HX-Request") == "true":
        back = _find_path(request.headers.get("HX-Current-URL", ""))
        return HttpResponse(status=204, headers={"HX-Redirect": _build_url(back)})
    if request.headers.get("Accept", "").startswith("application/json"):
        return JsonResponse(
            {"error": "recent_login_required", "message": REQUIRED, "url": _build_url("/")},
            status=403,
        )
    if is_download and request.method == "GET":
        places = {"to": request.get_full_path()}
        if referer := request.headers.get("Referer"):
            places["back"] = _find_path(referer)
        return HttpResponseRedirect(_build_url(f"{reverse('download-start')}?{urlencode(places)}"))
    methods = get_adapter().get_reauthentication_methods(request.user)
    if not methods:
        raise PermissionDenied("There is no way to confirm who you are. Log out, then log in.")
    back = request.get_full_path()
    if any("password" in name.lower() for name in request.POST):
        messages.warning(request, NOT_KEPT)
    elif request.method == "POST":
        request.session[STATE_SESSION_KEY] = {"request": _serialize(request)}
        # django-allauth continues a form only if this is the path alone. The query is kept too.
        back = request.path
    query = urlencode({REDIRECT_FIELD_NAME: back})
    return HttpResponseRedirect(f"{methods[0]['url']}?{query}")


def _serialize(request: HttpRequest) -> str:
    """Write a request without cookies and without what the server's environment holds."""
    kept = copy.copy(request)
    kept.META = {
        name: value
        for name, value in request.META.items()
        if name.startswith(KEPT_HEADERS) and name not in SECRET_HEADERS
    }
    return str(serialize_request(kept))


def _build_url(back: str) -> str:
    return f"{reverse('account_reauthenticate')}?{urlencode({REDIRECT_FIELD_NAME: back})}"


def _find_path(url: str) -> str:
    """Return path and query of a URL of this site; "/" if it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/"
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return path if path.startswith("/") and not path.startswith("//") else "/"

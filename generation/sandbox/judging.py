"""The parts that all simulated classification services share."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from PIL import Image

from generation.sandbox import marker

View = Callable[[HttpRequest], HttpResponse]
# Images are decoded in the web process for anyone who knows the URL: one at a time, and none larger
# than Loupe stores.
PIXELS_MAX = 24_000_000
_DECODING = threading.Lock()
SLOW, HANGING = 4.0, 50.0  # seconds; HANGING exceeds a patient client's timeout
KEY_PREFIX = "sandbox-"
WEB_PAGE = b"<!doctype html><title>Bad gateway</title><h1>Bad gateway</h1>\n"


def serve_program(view: View) -> View:
    """Wrap an endpoint for programs: without Loupe's log-in and CSRF rules."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponse:
        if not settings.SANDBOX:
            raise Http404("The sandbox is switched off.")
        return view(request)

    return wrapper


def read_behaviour(key: str) -> str:
    """Return the behaviour that a key such as sandbox-500 selects; "" for any other key."""
    return key.removeprefix(KEY_PREFIX) if key.startswith(KEY_PREFIX) else ""


def read_labels(
    content: bytes, *, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP")
) -> list[tuple[str, int]]:
    """Return the categories that a picture stands for; none for a picture from elsewhere.

    Raises ValueError, OSError.
    """
    with _DECODING, Image.open(io.BytesIO(content), formats=formats) as image:
        if image.width * image.height > PIXELS_MAX:
            raise ValueError("The picture is too large.")
        return marker.read_marker(image.convert("RGB")) or []


def respond(body: dict[str, Any], behaviour: str, *, content_type: str) -> HttpResponse:
    """Return a body as JSON; for ``html`` a web page, for ``half`` the first half of the JSON."""
    if behaviour == "html":
        return HttpResponse(WEB_PAGE)
    if behaviour == "half":
        text = json.dumps(body)
        return HttpResponse(text[: len(text) // 2], content_type=content_type)
    return JsonResponse(body, content_type=content_type)

"""Refusal of requests that would wait too long for a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import Resolver404, resolve

from config.views import show_outage
from generation.core.outages import RETRY_AFTER
from moderation.api.auth import ApiError, ApiErrorCode

BUSY = "Loupe has too many requests at the moment. Send the call again in a few seconds."
View = Callable[[HttpRequest], HttpResponseBase]


class Gate:
    """The places for requests that a process works on at the same time.

    A request without a place waits, but not if all places have been taken for ``patience`` seconds:
    then requests arrive faster than they are answered, and waiting would only delay all of them.
    """

    def __init__(self, places: int, patience: float) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._patience = patience
        self._free_at = time.monotonic()  # the last time at which a place was free

    def enter(self) -> bool:
        """Take a place; False if the request should be refused."""
        now = time.monotonic()
        if self._places.acquire(blocking=False):
            self._free_at = now
            return True
        left = self._patience - (now - self._free_at)
        return left > 0 and self._places.acquire(timeout=left)

    def leave(self) -> None:
        self._places.release()


class HeldParts:
    """The parts of a streamed response, which keeps its place until it ends or is closed."""

    def __init__(self, parts: Iterator[bytes], leave: Callable[[], None]) -> None:
        self._parts = parts
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> HeldParts:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)

    def close(self) -> None:
        if self._leave is not None:
            self._leave()
            self._leave = None


class OverloadMiddleware:
    """A middleware that answers 503 when all threads have been busy for WEB_QUEUE_SECONDS.

    granian itself would let requests wait without limit. Some threads are left over for refusals
    and probes (config/web_server.py).
    """

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response
        self.gate = Gate(settings.WEB_THREADS, settings.WEB_QUEUE_SECONDS)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not self.gate.enter():
            return refuse(request)
        is_held = False
        try:
            response = self.get_response(request)
            # Files need no database connection, and their number is limited by the threads.
            if isinstance(response, StreamingHttpResponse) and not isinstance(
                response, FileResponse
            ):
                # Under WSGI the content is never asynchronous.
                parts = iter(cast(Iterator[bytes], response.streaming_content))
                response.streaming_content = HeldParts(parts, self.gate.leave)
                is_held = True
            return response
        finally:
            if not is_held:
                self.gate.leave()


def refuse(request: HttpRequest) -> HttpResponseBase:
    """Return 503 with Retry-After, in the format of the API that was called."""
    view: Any = None
    with suppress(Resolver404):
        request.resolver_match = resolve(request.path_info)  # Django's handler is not reached
        view = request.resolver_match.func
    if (render := getattr(view, "refuse", None)) is None:
        return show_outage(request)
    error = ApiError(ApiErrorCode.UNAVAILABLE, BUSY, retry_after=RETRY_AFTER)
    response: HttpResponseBase = render(error)
    response["Retry-After"] = str(RETRY_AFTER)
    return response

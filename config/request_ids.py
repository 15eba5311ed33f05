"""Ids of HTTP requests: in the answer, in every log record, and on error pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from config.log_formats import META
from generation.core.log_context import bind_contextvars

HEADER = "X-Request-ID"
VALID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


class RequestIdMiddleware:
    """A middleware that keeps the id of a trusted proxy, or makes one, and returns it.

    It stands before the one that replaces the proxy's address by the client's. django-structlog
    binds the id to the log.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.trusted = [ip_network(network) for network in settings.TRUSTED_PROXIES]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = str(request.META.get(META, ""))
        if not VALID.fullmatch(given) or not self._is_from_proxy(request.META):
            request.META[META] = str(uuid.uuid4())
        response = self.get_response(request)
        response[HEADER] = request.META[META]
        return response

    def _is_from_proxy(self, headers: dict[str, Any]) -> bool:
        try:
            peer = ip_address(headers.get("REMOTE_ADDR", ""))
        except ValueError:
            return False
        # A client on this machine that bypasses the proxy sends no X-Forwarded-For.
        return "HTTP_X_FORWARDED_FOR" in headers and any(peer in each for each in self.trusted)


class RouteLogMiddleware:
    """A middleware that binds the name of the route and the id in its path to the log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        match = request.resolver_match
        if match is not None:
            bind_contextvars(route=match.view_name)
        if isinstance(kwargs.get("uuid"), uuid.UUID):
            bind_contextvars(uuid=str(kwargs["uuid"]))

"""The page /metrics for Prometheus, and the counters of HTTP requests."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from config.metrics_files import VARIABLE
from moderation.services.metrics import DatabaseCollector

PATH = "/metrics"
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
# Seconds. A decision takes a few milliseconds, /api/nsfw/image up to two minutes.
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

OWN = CollectorRegistry()
REQUESTS = Counter(
    "loupe_http_requests",
    "HTTP requests of this web server, without probes.",
    ("route", "method", "status"),
    registry=OWN,
)
# Without method and status, because each combination of labels has 14 samples.
SECONDS = Histogram(
    "loupe_http_request_seconds",
    "Time until the answer began.",
    ("route",),
    buckets=BUCKETS,
    registry=OWN,
)
DATABASE = DatabaseCollector()

View = Callable[[HttpRequest], HttpResponse]


def show_metrics(request: HttpRequest) -> HttpResponse:
    """Return all metrics in the format that the caller accepts."""
    if refusal := _refuse(request):
        return refusal
    registry = CollectorRegistry()
    registry.register(DATABASE)
    if VARIABLE in os.environ:
        MultiProcessCollector(registry)
    else:
        registry.register(REQUESTS)
        registry.register(SECONDS)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(
        encode(registry), content_type=content_type, headers={"Cache-Control": "no-store"}
    )


def _refuse(request: HttpRequest) -> HttpResponse | None:
    """Return the answer to a caller with neither the token nor an allowed address."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
    if _has_token(request.headers.get("Authorization", "")):
        return None
    if _is_allowed(request.META.get("REMOTE_ADDR", "")):
        return None
    if not settings.METRICS_TOKEN:
        return _refuse_with(403, "This address is not in METRICS_ALLOW.")
    refusal = _refuse_with(401, "Send METRICS_TOKEN as Bearer token.")
    refusal["WWW-Authenticate"] = "Bearer"
    return refusal


def _refuse_with(status: int, message: str) -> HttpResponse:
    return HttpResponse(f"{message}\n", status=status, content_type="text/plain; charset=utf-8")


def _has_token(header: str) -> bool:
    scheme, _, token = header.partition(" ")
    wanted: str = settings.METRICS_TOKEN
    return (
        bool(wanted)
        and scheme.lower() == "bearer"
        and hmac.compare_digest(token.strip().encode(), wanted.encode())
    )


def _is_allowed(client: str) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return any(address in ip_network(network) for network in settings.METRICS_ALLOW)


class MetricsMiddleware:
    """A middleware that answers /metrics and counts all other requests.

    It stands before the checks of host and TLS, because Prometheus calls the address of each web
    server, before the one that refuses requests during an overload, so that refusals count, and
    behind the one that finds the client's address. Without METRICS_TOKEN and METRICS_ALLOW it is
    not used.
    """

    def __init__(self, get_response: View) -> None:
        if not settings.METRICS_ENABLED:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info == PATH:
            return show_metrics(request)
        began = time.perf_counter()
        response = self.get_response(request)
        route = _name_route(request)
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(route, method, response.status_code).inc()
        SECONDS.labels(route).observe(time.perf_counter() - began)
        return response


def _name_route(request: HttpRequest) -> str:
    """Return the name of the URL pattern, which holds no ids."""
    match = request.resolver_match
    if match is not None:
        return match.view_name or "unnamed"
    return "static" if request.path_info.startswith(settings.STATIC_URL) else "unmatched"

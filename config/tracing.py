"""Traces to an OpenTelemetry collector, if OTEL_EXPORTER_OTLP_ENDPOINT names one.

Loupe has its own middleware, because opentelemetry-instrumentation-django records whole URLs, in
which people's searches and signatures of images stand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from generation.core.log_context import get_request_id
from generation.core.tracing import start_span

PATH = "/v1/traces"


@cache
def start_tracing() -> Any:
    """Export spans from now on, in this process and its forks; return the provider."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "loupe"}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT}{PATH}")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


class TracingMiddleware:
    """A middleware that opens a span for each request, in the trace of the caller if it has one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            raise MiddlewareNotUsed
        from opentelemetry import propagate

        self.get_response = get_response
        self.extract = propagate.extract

    def __call__(self, request: HttpRequest) -> HttpResponse:
        method = request.method or ""
        parent = {"traceparent": request.headers.get("traceparent", "")}
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "loupe.request_id": get_request_id(),
        }
        with start_span(method, context=self.extract(parent), **attributes) as span:
            response = self.get_response(request)
            if match := request.resolver_match:
                span.update_name(f"{method} {match.view_name}")
                span.set_attribute("http.route", match.view_name)
            span.set_attribute("http.response.status_code", response.status_code)
            return response

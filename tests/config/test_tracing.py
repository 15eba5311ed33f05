"""Spans of requests, jobs and calls of providers, sent to a real receiver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from config.tracing import start_tracing
from generation import jobs
from generation.core import tracing
from generation.providers.base import ProviderError
from generation.providers.novita.client import Novita
from tests.config.receivers import Receiver, receive

pytestmark = pytest.mark.django_db
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
Spans = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as found:
        yield found


@pytest.fixture
def spans(receiver: Receiver, settings: Any, monkeypatch: Any) -> Iterator[Spans]:
    """Return a function that returns the spans that the receiver got."""
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = receiver.url
    # The provider of a process can be set once only, so each test asks for its own.
    chosen: list[TracerProvider] = []
    monkeypatch.setattr("opentelemetry.trace.set_tracer_provider", chosen.append)
    monkeypatch.setattr(tracing.trace, "get_tracer", lambda name: chosen[0].get_tracer(name))
    start_tracing.cache_clear()
    provider = start_tracing()
    assert isinstance(provider, TracerProvider)

    def read() -> list[dict[str, Any]]:
        provider.force_flush()
        found = []
        for path, content in receiver.calls:
            assert path == "/v1/traces"
            message = ExportTraceServiceRequest.FromString(content)
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    found += [describe(span) for span in scope.spans]
        return found

    yield read
    provider.shutdown()
    start_tracing.cache_clear()


def describe(span: Any) -> dict[str, Any]:
    values = {each.key: each.value for each in span.attributes}
    plain = {
        key: value.string_value or value.int_value or value.bool_value
        for key, value in values.items()
    }
    return {
        "name": span.name,
        "trace": span.trace_id.hex(),
        "parent": span.parent_span_id.hex(),
        "id": span.span_id.hex(),
        "is_failed": span.status.code == 2,
        "text": str(span),
        **plain,
    }


def test_request_is_a_span_with_its_route_and_without_its_url(
    spans: Spans, client_of: Any, moderator: User
) -> None:
    answer = client_of(moderator).get(
        "/preferences/?q=a-canary", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    )

    (span,) = spans()
    assert (span["name"], span["http.response.status_code"]) == ("GET preferences", 200)
    assert (span["trace"], span["parent"]) == (TRACE, "00f067aa0ba902b7")
    assert span["loupe.request_id"] == answer["X-Request-ID"]
    assert "canary" not in span["text"]
    assert "127.0.0.1" not in span["text"]


def test_run_of_a_job_is_a_span_that_fails_with_it(spans: Spans, monkeypatch: Any) -> None:
    def fail(run: Any) -> None:
        raise ValueError("a canary in the text")

    monkeypatch.setattr(jobs.find("statistics"), "function", fail)
    jobs.find("statistics")()
    jobs.find("housekeeping")()

    failed, done = spans()
    assert (failed["name"], failed["is_failed"]) == ("job statistics", True)
    assert failed["error.type"] == "ValueError"
    assert "canary" not in failed["text"]
    assert (done["loupe.job"], done["is_failed"]) == ("housekeeping", False)


def test_call_of_a_provider_is_a_span_within_its_job(spans: Spans, monkeypatch: Any) -> None:
    provider = Novita(
        slug="novita",
        api_key="key-canary-0123456789",
        base_url="https://novita.test",
        label="Novita",
    )
    provider.use_transport(httpx.MockTransport(lambda request: httpx.Response(503)))

    def call(run: Any) -> None:
        with pytest.raises(ProviderError):
            provider.list_models(limit=1)

    monkeypatch.setattr(jobs.find("statistics"), "function", call)
    jobs.find("statistics")()

    inner, outer = spans()
    assert (inner["loupe.provider"], inner["http.response.status_code"]) == ("novita", 503)
    assert (inner["trace"], inner["parent"]) == (outer["trace"], outer["id"])
    assert "novita.test" not in inner["text"]
    assert "canary" not in inner["text"]


def test_nothing_is_traced_without_the_setting(receiver: Receiver) -> None:
    Client().get("/login/")
    jobs.find("housekeeping")()

    assert receiver.calls == []

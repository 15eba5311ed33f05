"""Spans for OpenTelemetry: requests, jobs, and calls of providers. Without its packages, nothing.

Attributes are names and numbers only: no URL, no prompt, no address.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

trace: Any = None
with suppress(ImportError):  # the extra `tracing` may not be installed
    trace = import_module("opentelemetry.trace")


@contextmanager
def start_span(name: str, *, context: Any = None, **attributes: str | int) -> Iterator[Any]:
    """Open a span for the block; an exception marks it as failed, without its text."""
    if trace is None:
        yield None
        return
    tracer = trace.get_tracer("loupe")
    with tracer.start_as_current_span(
        name,
        context=context,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            note_error(error)
            raise


def note_error(error: BaseException) -> None:
    """Mark the span in work as failed, with the type of the error alone."""
    if trace is not None:
        span = trace.get_current_span()
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)

"""Log formats: a line of text or a JSON object, with the ids of the request, the run and the image.

Records of the standard library and of structlog take the same way: the filters of the handler
redact them, and then the processors below build the output.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog
from django.http import HttpRequest
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from config.log_filters import redact

META = "HTTP_X_REQUEST_ID"  # set by config.request_ids

# Django adds the status to records about requests, django-structlog the other two. All other
# extras are left out: they may hold cookies, or the values in a query.
EXTRAS = ("status_code", "code", "user_agent")


def describe_record(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor that adds time, level, logger and the redacted traceback of a record."""
    record = event["_record"]
    created = datetime.fromtimestamp(record.created, UTC)
    found: dict[str, Any] = {
        "timestamp": created.isoformat(),
        "level": record.levelname,
        "logger": record.name,
        "message": event.pop("event"),
    }
    event.pop("exc_info", None)
    if record.exc_text:  # made by the filter that redacts it
        event["exc_info"] = record.exc_text
    return {**found, **event}


def add_request(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor that adds the ids of a request that is answered already.

    Django logs missing pages behind all middleware, where nothing is bound any more.
    """
    request = getattr(event["_record"], "request", None)
    if isinstance(request, HttpRequest):
        event.setdefault("request_id", request.META.get(META, ""))
        if request.resolver_match is not None:
            event.setdefault("route", request.resolver_match.view_name)
            if "uuid" in request.resolver_match.kwargs:
                event.setdefault("uuid", str(request.resolver_match.kwargs["uuid"]))
    return event


def redact_values(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Processor that redacts what was bound; message and traceback are redacted already."""
    done = ("timestamp", "message", "exc_info")
    return {
        name: redact(value) if isinstance(value, str) and name not in done else value
        for name, value in event.items()
    }


def render_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Processor that renders one line, with the bound values at its end."""
    created = datetime.fromisoformat(event.pop("timestamp")).astimezone()
    head = f"{created:%Y-%m-%d %H:%M:%S},{created.microsecond // 1000:03} {event.pop('level')}"
    line = f"{head} {event.pop('logger')}: {event.pop('message')}"
    trace = event.pop("exc_info", "")
    event.pop("status_code", None)  # most messages about requests name it
    if bound := " ".join(f"{name}={value}" for name, value in event.items()):
        line = f"{line} [{bound}]"
    return f"{line}\n{trace}" if trace else line


RENDERERS: dict[str, Processor] = {
    "line": render_line,
    "json": structlog.processors.JSONRenderer(ensure_ascii=False),
}


def make_formatter(style: str) -> ProcessorFormatter:
    """Return the formatter ``line`` or ``json``.

    Source: https://www.structlog.org/en/stable/standard-library.html
    """
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ExtraAdder(allow=EXTRAS),
            add_request,
            describe_record,
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            redact_values,
            RENDERERS[style],
        ],
    )


def configure_structlog() -> None:
    """Send what structlog's loggers say through the standard library's handlers."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )

"""Faults to Sentry, if SENTRY_DSN names a project. Everything that is sent is redacted."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from config.log_filters import redact
from generation.core.log_context import get_contextvars
from generation.core.outages import find_outage

# Parts of an event that hold what people and programs have sent.
UNWANTED = ("breadcrumbs", "user", "server_name", "modules")


def start_sentry() -> None:
    """Report faults of this process and its forks: no personal data, no variables, no bodies."""
    import sentry_sdk
    from sentry_sdk.integrations.logging import LoggingIntegration

    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        # The handler in LOGGING reports instead: it stands before the one that redacts the record.
        integrations=[LoggingIntegration(level=None, event_level=None)],
        before_send=redact_event,
    )


def redact_event(event: Any, hint: dict[str, Any]) -> Any:
    """Return an event without secrets; None for what is no fault of the code.

    That is an outage, or a refused request, such as one with a forged host, which anyone can send.
    """
    error = (hint.get("exc_info") or (None, None))[1]
    if find_outage(error) is not None or event.get("logger", "").startswith("django.security."):
        return None
    for name in UNWANTED:
        event.pop(name, None)
    if "request" in event:
        event["request"] = {"method": event["request"].get("method", "")}
    event["tags"] = {**event.get("tags", {}), **get_contextvars()}
    return _redact(event)


def _redact(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _redact(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(each) for each in value]
    return value

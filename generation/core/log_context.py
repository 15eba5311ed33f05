"""Values that all log records of a request or a run carry: ids only, never texts of people."""

from __future__ import annotations

from structlog.contextvars import bind_contextvars, bound_contextvars, get_contextvars

__all__ = ["bind_contextvars", "bound_contextvars", "get_contextvars", "get_request_id"]


def get_request_id() -> str:
    """Return the id of the HTTP request in work; "" outside of one."""
    return str(get_contextvars().get("request_id", ""))

"""Log formats beside the plain line."""

from __future__ import annotations

from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from config.log_filters import TRACEBACK_MAX, redact, shorten

# Django attaches the request object, which cannot be written as JSON and holds cookies.
UNWANTED = ("request", "server_time")


class JsonLines(JsonFormatter):
    """One JSON object per record: timestamp (UTC, ISO 8601), level, logger, message, exc_info.

    Source: https://nhairs.github.io/python-json-logger/latest/
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(
            "{levelname}{name}{message}",
            style="{",
            timestamp=True,
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, *UNWANTED],
            **options,
        )

    def formatException(self, ei: Any) -> str:
        """Format a traceback without secrets; the base class does not use the record's own text."""
        return redact(shorten(str(super().formatException(ei)), TRACEBACK_MAX))

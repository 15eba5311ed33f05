"""Log formats beside the plain line."""

from __future__ import annotations

from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

# Attributes of Django's records that may hold secrets: cookies, and the values in a query.
UNWANTED = ("request", "server_time", "sql", "params", "alias", "duration")


class JsonLines(JsonFormatter):
    """One JSON object per record: timestamp (UTC, ISO 8601), level, logger, message, exc_info.

    Django adds ``status_code`` to records about requests.

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

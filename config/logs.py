"""Logs without secrets: one filter on the one handler."""

from __future__ import annotations

import logging
import re

SECRETS = re.compile(
    r"(?P<keep>Bearer\s+|X-Amz-[A-Za-z-]+=|Signature=|Policy=|api[-_]key[=:]\s*|sessionid=|csrftoken=|/webhooks/novita/)"
    r"[^\s&\"'<>]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    return SECRETS.sub(r"\g<keep>[redacted]", text)


class WithoutSandbox(logging.Filter):
    """The sandbox answers with errors on purpose; they are no events of this server."""

    def filter(self, record: logging.LogRecord) -> bool:
        path = getattr(getattr(record, "request", None), "path", "")
        return not path.startswith("/sandbox/")


class RedactSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True

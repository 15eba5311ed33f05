"""Logs without secrets: one filter on the one handler."""

from __future__ import annotations

import logging
import re
from functools import cache
from urllib.parse import urlsplit

from django.conf import settings

from generation.wire.secrets import redact as cut_addresses

KEYS = ("SECRET_KEY", "NOVITA_API_KEY", "NANOGPT_API_KEY", "SCENARIO_API_KEY", "SCENARIO_API_SECRET", "DEMO_PASSWORD")
KEY_MIN = 8
SECRETS = re.compile(
    r"(?P<keep>Bearer\s+|X-Amz-[A-Za-z-]+=|Signature=|Policy=|api[-_]key[=:]\s*|sessionid=|csrftoken=|/webhooks/novita/"
    r"|/v3/images/)"
    r"[^\s&\"'<>]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    for secret in _known():
        text = text.replace(secret, "[key]")
    return SECRETS.sub(r"\g<keep>[redacted]", cut_addresses(text))


@cache
def _known() -> tuple[str, ...]:
    """Our own keys, word for word, whatever they look like. Short ones, such as the sandbox's, are no secrets."""
    found = [getattr(settings, name, "") for name in KEYS]
    found.append(settings.DATABASES["default"].get("PASSWORD", ""))
    found += [urlsplit(getattr(settings, "REDIS_URL", "")).password or ""]
    return tuple(secret for secret in found if isinstance(secret, str) and len(secret) >= KEY_MIN)


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

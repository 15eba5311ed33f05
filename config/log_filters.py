"""Log filters: no secrets, bounded length, no noise."""

from __future__ import annotations

import logging
import re
from functools import cache
from urllib.parse import urlsplit

from django.conf import settings

from generation.wire.secrets import redact as redact_urls

KEYS = (
    "SECRET_KEY",
    "RECORD_KEY",
    "HEAD_SIGNING_KEY",
    "NOVITA_API_KEY",
    "NANOGPT_API_KEY",
    "VLM_API_KEY",
    "SCENARIO_API_KEY",
    "SCENARIO_API_SECRET",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "S3_SECRET_ACCESS_KEY",
    "S3_SESSION_TOKEN",
    "OPENAI_API_KEY",
    "HMA_API_KEY",
    "DEMO_PASSWORD",
    "EMAIL_HOST_PASSWORD",
    "METRICS_TOKEN",
    "ALARM_WEBHOOK_SECRET",
    "OIDC_CLIENT_SECRET",
    "SENTRY_DSN",
)
KEY_MIN = 8
# Callers control what is logged of their calls, so values and lines have a maximum length.
ARGUMENT_MAX = 512
MESSAGE_MAX = 4096
TRACEBACK_MAX = 32 * 1024
SECRETS = re.compile(
    r"(?P<keep>Bearer\s++|X-Amz-[A-Za-z0-9-]{1,40}=|Signature=|Policy=|api[-_]key[=:]\s*+|sessionid=|csrftoken="
    r"|/webhooks/novita/|/v3/images/|/invitations/)"
    r"[^\s&\"'<>]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Remove our keys, secrets in URLs and tokens from a text."""
    return SECRETS.sub(r"\g<keep>[redacted]", redact_urls(hide_keys(text)))


def hide_keys(text: str) -> str:
    """Replace our own keys in a text."""
    for secret in _load_own_keys():
        text = text.replace(secret, "[key]")
    return text


def shorten(text: str, length: int) -> str:
    """Shorten a text after hiding our keys, because a partial key could not be found later."""
    text = hide_keys(text)
    return (
        text if len(text) <= length else f"{text[:length]}… [{len(text) - length} more characters]"
    )


@cache
def _load_own_keys() -> tuple[str, ...]:
    """Return our own keys, to be matched literally.

    Short ones, such as the sandbox's, are not secret.
    """
    found = [getattr(settings, name, "") for name in KEYS]
    found += settings.SECRET_KEY_FALLBACKS
    found += settings.RECORD_KEY_FALLBACKS + settings.HEAD_SIGNING_KEY_FALLBACKS
    found += settings.SCIM_TOKEN
    found.append(settings.DATABASES["default"].get("PASSWORD", ""))
    found += [urlsplit(getattr(settings, "REDIS_URL", "")).password or ""]
    return tuple(secret for secret in found if isinstance(secret, str) and len(secret) >= KEY_MIN)


class WithoutSandbox(logging.Filter):
    """A filter that drops records about /sandbox/, whose errors are intended."""

    def filter(self, record: logging.LogRecord) -> bool:
        path = getattr(getattr(record, "request", None), "path", "")
        return not path.startswith("/sandbox/")


class OneLinePerSuspicion(logging.Filter):
    """A filter that logs a refused host or a forged value as a one-line warning.

    Anyone can cause it, and its traceback is not useful.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = (
                logging.WARNING,
                logging.getLevelName(logging.WARNING),
            )
        return True


class RedactSecrets(logging.Filter):
    """A filter that removes secrets from messages and tracebacks, and shortens them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                shorten(arg, ARGUMENT_MAX) if isinstance(arg, str) else arg for arg in record.args
            )
        record.msg, record.args = redact(shorten(record.getMessage(), MESSAGE_MAX)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(shorten(record.exc_text, TRACEBACK_MAX))
            # Formatters would format the traceback again, with its secrets.
            record.exc_info = None
        return True

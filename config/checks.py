"""System checks for `manage.py check --deploy`: valid settings that are probably mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Warning

# Modes of libpq that never fall back to plain text.
SSL_MODES = {"require", "verify-ca", "verify-full"}
# Settings with URLs of services. Time stamps are signed, so HEAD_TIMESTAMP_URL is not among them.
PLAIN_URLS = (
    "S3_ENDPOINT_URL",
    "NOVITA_BASE_URL",
    "NANOGPT_BASE_URL",
    "VLM_BASE_URL",
    "SCENARIO_BASE_URL",
    "REKOGNITION_BASE_URL",
    "OPENAI_BASE_URL",
    "HMA_BASE_URL",
    "HEAD_PUBLISH_URL",
    "ALARM_WEBHOOK_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)


def check_classifiers_can_run(**kwargs: Any) -> list[CheckMessage]:
    """Warn when no classifier can run because the only provider is off."""
    if set(settings.CLASSIFIERS) - {"hashes"} != {"novita"} or settings.IMAGE_PROVIDERS:
        return []
    return [
        Warning(
            "CLASSIFIERS names novita alone, and NOVITA_API_KEY is empty, so no image can be"
            " classified.",
            hint=(
                "Set NOVITA_API_KEY, or name another classifier in CLASSIFIERS. Until then a person"
                " decides every image."
            ),
            id="loupe.W001",
        )
    ]


def check_record_can_be_sealed(**kwargs: Any) -> list[CheckMessage]:
    """Warn without a key of the record, which also encrypts second factors."""
    if settings.RECORD_KEY:
        return []
    return [
        Warning(
            "RECORD_KEY is empty, so the record of decisions cannot be sealed: whoever can write to"
            " the database could rewrite it without a trace. The secrets of second factors are not"
            " encrypted.",
            hint=(
                "Set RECORD_KEY to 50 random characters in every process, keep a copy outside of"
                " this server, then run manage.py seal_record."
            ),
            id="loupe.W002",
        )
    ]


def check_connections_are_encrypted(**kwargs: Any) -> list[CheckMessage]:
    """Warn about services on other hosts that are reached without TLS."""
    return [
        Warning(
            f"{name} names {host}, without TLS: whoever sees that network can read it.",
            hint=hint,
            id="loupe.W003",
        )
        for name, host, hint in _list_plain_connections()
        if not _is_this_host(host)
    ]


def _list_plain_connections() -> Iterator[tuple[str, str, str]]:
    """Yield the settings that name a service without TLS, its host, and what to do."""
    database = settings.DATABASES["default"]
    mode = database.get("OPTIONS", {}).get("sslmode", "")
    if database["ENGINE"].endswith("postgresql") and mode not in SSL_MODES:
        hint = "Append ?sslmode=verify-full&sslrootcert=/path/to/ca.pem, or ?sslmode=require."
        yield "DATABASE_URL", database.get("HOST", ""), hint
    if settings.REDIS_URL.startswith("redis://"):
        hint = "Write rediss://, with ?ssl_ca_certs=/path/to/ca.pem for an authority of your own."
        yield "REDIS_URL", urlsplit(settings.REDIS_URL).hostname or "", hint
    if settings.EMAIL_HOST and not settings.EMAIL_USE_TLS:
        yield "EMAIL_HOST", settings.EMAIL_HOST, "Set EMAIL_USE_TLS=1."
    if not settings.WEB_TLS_CERTIFICATE:
        hint = "Set WEB_TLS_CERTIFICATE and WEB_TLS_KEY, if the proxy is on another host."
        yield "WEB_HOST", settings.WEB_HOST, hint
    for name in PLAIN_URLS:
        parts = urlsplit(getattr(settings, name))
        if parts.scheme == "http":
            yield name, parts.hostname or "", "Write https://."


def _is_this_host(host: str) -> bool:
    """Return whether a connection stays on this machine; a path is a Unix socket."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return not host or host.startswith("/") or host == "localhost"

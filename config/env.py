"""Typed readers for environment variables. A wrong value stops the start with a sentence that says
what to do.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
PREPARED_AFTER = 5  # times that a connection has asked a query
CONNECT_TIMEOUT = (
    5  # seconds; by default a thread would wait for minutes for a host that does not answer
)
# Django's own rule (security.W009), which it only warns about.
KEY_LENGTH_MIN, KEY_CHARACTERS_MIN, KEY_MADE_BY_DJANGO = 50, 5, "django-insecure-"


def text(name: str, default: str = "") -> str:
    """Return the variable, stripped; an empty one counts as absent."""
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(
        f"{name}={value!r} is neither yes nor no. Write {name}=1 or {name}=0."
    )


def decimal(name: str, default: str, *, low: str, high: str) -> Decimal:
    value = text(name, default)
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not a number. Write for example {name}={default}."
        ) from None
    if not number.is_finite() or not Decimal(low) <= number <= Decimal(high):
        raise ImproperlyConfigured(
            f"{name}={value} is out of range. Choose a value from {low} to {high}."
        )
    return number


def integer(name: str, default: int, *, low: int, high: int) -> int:
    number = decimal(name, str(default), low=str(low), high=str(high))
    if number != int(number):
        raise ImproperlyConfigured(f"{name}={number} must be a whole number from {low} to {high}.")
    return int(number)


def words(name: str, default: str = "", *, choices: Iterable[str] = ()) -> list[str]:
    """Return a comma separated list; with ``choices``, every entry must be one of them."""
    found = [word.strip() for word in text(name, default).split(",") if word.strip()]
    known = list(choices)
    unknown = [word for word in found if known and word not in known]
    if unknown:
        raise ImproperlyConfigured(
            f"{name} names {unknown[0]!r}, which does not exist. Choose from: {', '.join(known)}."
        )
    return found


def url(name: str, default: str = "") -> str:
    """Return an http(s) address without a trailing slash."""
    value = text(name, default)
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not an address. Write for example {name}=https://example.org."
        )
    return value.rstrip("/")


def database(name: str, default: str, *, is_pooled: bool) -> dict[str, Any]:
    """Return Django's settings of a database address; only the two kinds that Loupe is tested on.

    ``is_pooled``: whether a pooler hands each transaction another connection of PostgreSQL. Then
    nothing may outlive a transaction: no prepared statement, no cursor of the server.
    """
    value = text(name, default)
    scheme = value.partition("://")[0]
    if "://" not in value or scheme not in {"sqlite", "postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"{name} must be postgres://user:password@host/name or sqlite:///path. Leave it out for"
            " SQLite in DATA_DIR."
        )
    if scheme != "sqlite" and importlib.util.find_spec("psycopg") is None:
        raise ImproperlyConfigured(
            f"{name} names PostgreSQL, whose driver is missing. Install Loupe's requirements for"
            " production: pip install --require-hashes -r requirements-production.txt"
        )
    found: dict[str, Any] = {
        **dj_database_url.parse(value, conn_max_age=60, conn_health_checks=True)
    }
    if scheme != "sqlite":
        found["DISABLE_SERVER_SIDE_CURSORS"] = is_pooled
        options = (
            {"connect_timeout": CONNECT_TIMEOUT}
            if is_pooled
            else {
                "connect_timeout": CONNECT_TIMEOUT,
                "prepare_threshold": PREPARED_AFTER,
            }
        )
        found["OPTIONS"] = {**options, **found.get("OPTIONS", {})}
    return found


def require_strong_key(name: str, value: str) -> None:
    """Refuse a key that could be guessed: whoever knows it can make sessions and addresses of
    images.
    """
    is_short = len(value) < KEY_LENGTH_MIN or len(set(value)) < KEY_CHARACTERS_MIN
    if is_short or value.startswith(KEY_MADE_BY_DJANGO):
        raise ImproperlyConfigured(
            f"{name} can be guessed: it needs {KEY_LENGTH_MIN} random characters. Make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )


def networks(name: str, default: str) -> list[str]:
    """Return addresses and networks such as 10.0.0.0/8."""
    found = words(name, default)
    for entry in found:
        try:
            ip_network(entry)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} holds {entry!r}, which is no network address. Write for example"
                f" {name}=127.0.0.1,10.0.0.0/8."
            ) from None
    return found


def redis(name: str) -> str:
    value = text(name)
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(
            f"{name} must be a Redis address. Write for example {name}=redis://localhost:6379/0."
        )
    return value


def endpoints(name: str) -> list[str]:
    """Return ``host:port`` pairs."""
    found = words(name)
    for pair in found:
        if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}", pair):
            raise ImproperlyConfigured(
                f"{name} holds {pair!r}. Write host:port pairs, for example {name}=10.0.0.5:9000."
            )
    return found


def load_file(path: Path) -> None:
    """Read ``NAME=value`` lines; a variable that is already set wins. ``make run`` keeps its
    choices in such a file.
    """
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = line.partition("=")
        if not sign:
            raise ImproperlyConfigured(f"{path}, line {number}: write NAME=value.")
        os.environ.setdefault(name.strip(), value.strip())

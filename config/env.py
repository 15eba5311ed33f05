"""Typed readers of environment variables.

An invalid value stops the start with a message that says what to do.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
# An approved image can be downloaded by its signed URL for an hour after its decision.
RETENTIONS: dict[str, timedelta | None] = {
    "never": timedelta(0),
    "until-decided": timedelta(hours=1),
    "forever": None,
}
READ: set[str] = set()  # the names that the settings have asked for
NONE = "none"  # the value of a choice that switches something off
PREPARED_AFTER = 5  # executions of a query on a connection before PostgreSQL prepares it
# Seconds. The default would block a thread for minutes if a host does not answer.
CONNECT_TIMEOUT = 5
# Django's rule security.W009, which is only a warning there.
KEY_LENGTH_MIN, KEY_CHARACTERS_MIN, KEY_MADE_BY_DJANGO = 50, 5, "django-insecure-"


def text(name: str, default: str = "") -> str:
    """Return the variable, stripped; an empty one counts as absent."""
    READ.add(name)
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    """Return a boolean; ``default`` if the variable is empty."""
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
    """Return a number between ``low`` and ``high``."""
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
    """Return a whole number between ``low`` and ``high``."""
    number = decimal(name, str(default), low=str(low), high=str(high))
    if number != int(number):
        raise ImproperlyConfigured(f"{name}={number} must be a whole number from {low} to {high}.")
    return int(number)


def retention(name: str, default: str) -> timedelta | None:
    """Return how long a file is kept after the decision; zero: never stored, None: forever."""
    value = text(name, default).lower()
    if value in RETENTIONS:
        return RETENTIONS[value]
    days = re.fullmatch(r"days:([1-9][0-9]{0,3})", value, re.ASCII)
    if days is None:
        raise ImproperlyConfigured(
            f"{name}={value!r} is unknown. Write never, until-decided, days:30 (1 to 9999) or"
            " forever."
        )
    return timedelta(days=int(days[1]))


def words(name: str, default: str = "", *, choices: Iterable[str] = ()) -> list[str]:
    """Return the entries of a comma-separated list; with ``choices`` only these are valid."""
    found = [word.strip() for word in text(name, default).split(",") if word.strip()]
    known = list(choices)
    unknown = [word for word in found if known and word not in known]
    if unknown:
        raise ImproperlyConfigured(
            f"{name} names {unknown[0]!r}, which does not exist. Choose from: {', '.join(known)}."
        )
    return found


def pairs(name: str, *, choices: Iterable[str]) -> list[tuple[str, str]]:
    """Return the entries of a comma-separated list of ``name=choice``."""
    known, found = list(choices), []
    for entry in words(name):
        key, sign, value = (part.strip() for part in entry.rpartition("="))
        if not sign or not key or value not in known:
            raise ImproperlyConfigured(
                f"{name} contains {entry!r}. Write group=role pairs, for example"
                f" {name}=moderators={known[0]}. Roles: {', '.join(known)}."
            )
        found.append((key, value))
    return found


def choice(name: str, default: str, *, choices: Iterable[str]) -> str:
    """Return one of the choices."""
    value = text(name, default)
    if value not in choices:
        raise ImproperlyConfigured(
            f"{name}={value!r} does not exist. Choose from: {', '.join(filter(None, choices))}."
        )
    return value


def bucket(name: str) -> str:
    """Return the name of a bucket, or ""."""
    value = text(name)
    if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", value, re.ASCII):
        raise ImproperlyConfigured(
            f"{name}={value!r} is not the name of a bucket. Write for example {name}=loupe-images."
        )
    return value


def region(name: str) -> str:
    """Return the name of a region, or ""."""
    value = text(name)
    if value and not re.fullmatch(r"[A-Za-z0-9-]+", value, re.ASCII):
        raise ImproperlyConfigured(
            f"{name}={value!r} is not a region. Write for example {name}=eu-west-1."
        )
    return value


def prefix(name: str) -> str:
    """Return a path of plain folder names, or ""."""
    value = text(name).strip("/")
    if value and not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value, re.ASCII):
        raise ImproperlyConfigured(
            f"{name}={value!r} may contain letters, digits, _ and - between slashes. Write for"
            f" example {name}=loupe/images."
        )
    return value


def url(name: str, default: str = "") -> str:
    """Return an http(s) URL without a trailing slash."""
    value = text(name, default)
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not a URL. Write for example {name}=https://example.org."
        )
    return value.rstrip("/")


def url_or_file(name: str) -> str:
    """Return an http(s) URL, or that of an existing file."""
    value = text(name)
    if not value or value.startswith(("http://", "https://")):
        # A query is part of the address at some identity providers.
        return value if not value or urlsplit(value).hostname else url(name)
    found = Path(value)
    if not found.is_absolute() or not found.is_file():
        raise ImproperlyConfigured(
            f"{name}={value!r} is neither an https address nor the absolute path of a file. Write"
            f" for example {name}=https://id.example/metadata."
        )
    return found.as_uri()


def path(name: str) -> Path | None:
    """Return an absolute path of a file in an existing folder, or None."""
    value = text(name)
    if not value:
        return None
    found = Path(value)
    if not found.is_absolute() or not found.parent.is_dir():
        raise ImproperlyConfigured(
            f"{name}={value!r} must be an absolute path in a folder that exists. Write for example"
            f" {name}=/var/lib/loupe/heads.jsonl."
        )
    return found


def settings_file(name: str, default: str) -> Path | None:
    """Read the file of settings that the variable names, and return its path.

    The file of the default may be missing.
    """
    value = text(name)
    found = Path(value or default)
    if value and not found.is_file():
        raise ImproperlyConfigured(f"{name}={value!r} does not exist, or is no file.")
    if not value and not default:
        return None
    load_file(found)
    return found


def explain_missing_key(files: Iterable[Path], is_installed: bool) -> str:
    """Return what to do about an empty SECRET_KEY, for a person who may be in the wrong folder."""
    looked = " and ".join(
        f"{file} {'does not name it' if file.is_file() else 'does not exist'}" for file in files
    )
    advice = (
        "Make the file with new keys: `loupe make_settings > /etc/loupe/settings.env`."
        if is_installed
        else "To try Loupe use `make run`, which makes a key. In production set it to 50 random"
        " characters."
    )
    return (
        f"SECRET_KEY is empty. The environment does not set it, and {looked}. If Loupe keeps its"
        f" data in another folder, name that folder: DATA_DIR=/path/to/it. {advice}"
    )


def database(name: str, default: str, *, is_pooled: bool) -> dict[str, Any]:
    """Return Django's settings for a database URL, SQLite or PostgreSQL.

    ``is_pooled``: a pooler may use another PostgreSQL connection for each transaction. Prepared
    statements and server-side cursors are then off, because they outlive a transaction.
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


def add_pool(found: dict[str, Any], *, size: int) -> dict[str, Any]:
    """Return the database's settings with a pool of connections in each process.

    A thread gives its connection back after each request, so CONN_MAX_AGE is 0.
    """
    pool = {"min_size": 1, "max_size": size, "timeout": CONNECT_TIMEOUT, "max_idle": 60}
    return {**found, "CONN_MAX_AGE": 0, "OPTIONS": {**found["OPTIONS"], "pool": pool}}


def require_strong_key(name: str, value: str) -> None:
    """Refuse a guessable key: it would allow forged sessions and image URLs."""
    is_short = len(value) < KEY_LENGTH_MIN or len(set(value)) < KEY_CHARACTERS_MIN
    if is_short or value.startswith(KEY_MADE_BY_DJANGO):
        raise ImproperlyConfigured(
            f"{name} can be guessed: it needs {KEY_LENGTH_MIN} random characters. Make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )


def networks(name: str, default: str) -> list[str]:
    """Return IP addresses and networks such as 10.0.0.0/8."""
    found = words(name, default)
    for entry in found:
        try:
            ip_network(entry)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} contains {entry!r}, which is not a network address. Write for example"
                f" {name}=127.0.0.1,10.0.0.0/8."
            ) from None
    return found


def redis(name: str) -> str:
    """Return a Redis URL, or ""."""
    value = text(name)
    if value and not value.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(
            f"{name} must be a Redis URL. Write for example {name}=redis://localhost:6379/0."
        )
    return value


def endpoints(name: str) -> list[str]:
    """Return ``host:port`` pairs."""
    found = words(name)
    for pair in found:
        if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}", pair):
            raise ImproperlyConfigured(
                f"{name} contains {pair!r}. Write host:port pairs, for example"
                f" {name}=10.0.0.5:9000."
            )
    return found


def load_file(path: Path) -> None:
    """Read ``NAME=value`` lines; variables that are already set take precedence.

    ``make run`` stores its settings in such a file.
    """
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        raise ImproperlyConfigured(
            f"{path} cannot be read by this user. Run Loupe's commands as the user that runs its"
            " servers, for example with: sudo -u loupe"
        ) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, sign, value = line.partition("=")
        if not sign:
            raise ImproperlyConfigured(f"{path}, line {number}: write NAME=value.")
        os.environ.setdefault(name.strip(), value.strip())

"""Warnings of `manage.py check --deploy` about services on other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.checks import PLAIN_URLS, check_connections_are_encrypted
from config.env import database

CLOUD = "postgres://loupe:password@10.0.0.10/loupe"


def list_warnings() -> list[str]:
    return [str(warning.msg) for warning in check_connections_are_encrypted()]


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        (CLOUD, True),
        (f"{CLOUD}?sslmode=prefer", True),
        (f"{CLOUD}?sslmode=require", False),
        (f"{CLOUD}?sslmode=verify-full&sslrootcert=/etc/loupe/ca.pem", False),
        ("postgres://loupe:password@127.0.0.1/loupe", False),
        ("postgres://loupe:password@[::1]/loupe", False),
        ("postgres://loupe:password@localhost/loupe", False),
        ("postgres://loupe@/loupe?host=/run/postgresql", False),
        ("sqlite:////var/lib/loupe/db.sqlite3", False),
    ],
)
def test_plain_database_on_another_host(
    settings: Any, monkeypatch: pytest.MonkeyPatch, url: str, warns: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    found = database("DATABASE_URL", "", is_pooled=False)
    monkeypatch.setitem(settings.DATABASES, "default", found)

    assert list_warnings() == (
        ["DATABASE_URL names 10.0.0.10, without TLS: whoever sees that network can read it."]
        if warns
        else []
    )


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"REDIS_URL": "redis://:password@10.0.0.10:6379/0"}, "REDIS_URL names 10.0.0.10"),
        ({"REDIS_URL": "rediss://:password@10.0.0.10:6379/0"}, ""),
        ({"REDIS_URL": "redis://localhost:6379/0"}, ""),
        ({"REDIS_URL": "unix:///run/redis.sock"}, ""),
        ({"EMAIL_HOST": "mail.example", "EMAIL_USE_TLS": False}, "EMAIL_HOST names mail"),
        ({"EMAIL_HOST": "mail.example", "EMAIL_USE_TLS": True}, ""),
        ({"S3_ENDPOINT_URL": "http://10.0.0.7:9000"}, "S3_ENDPOINT_URL names 10.0.0.7"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:9000"}, ""),
        ({"ALARM_WEBHOOK_URL": "https://alarms.example"}, ""),
        ({"WEB_HOST": "10.0.0.11"}, "WEB_HOST names 10.0.0.11"),
        ({"WEB_HOST": "10.0.0.11", "WEB_TLS_CERTIFICATE": Path("/etc/loupe/web.pem")}, ""),
    ],
)
def test_plain_services_on_other_hosts(settings: Any, values: dict[str, Any], named: str) -> None:
    for name in ("REDIS_URL", "EMAIL_HOST", *PLAIN_URLS):
        setattr(settings, name, "")
    for name, value in values.items():
        setattr(settings, name, value)
    found = list_warnings()
    assert [text.startswith(named) for text in found] == ([True] if named else [])

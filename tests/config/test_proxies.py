"""The client address behind a proxy, and the lock-out after wrong passwords."""

from __future__ import annotations

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from config.proxies import ClientAddressMiddleware

PASSWORD = "correct horse battery staple"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "2001:db8::7", "2001:db8::7"),
        (
            "127.0.0.1",
            "198.51.100.1, 203.0.113.7",
            "203.0.113.7",
        ),  # the client itself sent the first address
        ("127.0.0.1", "198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),  # two trusted proxies
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # not a trusted proxy
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "nonsense, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", ", ,", "127.0.0.1"),
        ("", "203.0.113.7", ""),
    ],
)
def test_client_address_is_the_last_forwarded_address_that_is_no_trusted_proxy(
    peer: str, forwarded: str | None, client: str, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    request = RequestFactory().get(
        "/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded} if forwarded else {}
    )

    ClientAddressMiddleware(lambda request: None)(request)

    assert request.META["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("peer", "scheme", "host"),
    [
        ("127.0.0.1", "https", "loupe.example"),
        ("10.1.2.3", "https", "loupe.example"),
        ("203.0.113.9", "http", "testserver"),
        ("nonsense", "http", "testserver"),
    ],
)
def test_scheme_and_host_are_read_from_trusted_proxies_only(
    peer: str, scheme: str, host: str, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    settings.ALLOWED_HOSTS = ["testserver", "loupe.example"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "loupe.example"}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)

    ClientAddressMiddleware(lambda request: None)(request)

    assert (request.scheme, request.get_host()) == (scheme, host)


def test_forwarded_host_that_is_not_allowed_gets_400(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    answer = Client(headers={"X-Forwarded-Host": "evil.example"}).get("/login/")

    assert answer.status_code == 400


@pytest.mark.django_db
def test_wrong_passwords_lock_out_only_their_own_address() -> None:
    User.objects.create_user("ada", password=PASSWORD)
    stranger, ada = (
        Client(headers={"X-Forwarded-For": address}) for address in ("203.0.113.7", "203.0.113.8")
    )

    for _ in range(5):
        refused = stranger.post("/login/", {"username": "ada", "password": "wrong"})

    assert refused.status_code == 429
    assert int(refused["Retry-After"]) == 15 * 60
    assert "Too many attempts" in refused.text
    assert set(AccessAttempt.objects.values_list("ip_address", flat=True)) == {"203.0.113.7"}
    assert ada.post("/login/", {"username": "ada", "password": PASSWORD}).status_code == 302

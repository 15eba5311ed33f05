"""Client address, scheme and host behind trusted proxies."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

# Read by Django: by SECURE_PROXY_SSL_HEADER, and because of USE_X_FORWARDED_HOST.
PROXY_HEADERS = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")


class ClientAddressMiddleware:
    """A middleware that sets REMOTE_ADDR to the client's address behind TRUSTED_PROXIES.

    Scheme and host of other callers' headers are removed.

    X-Forwarded-For is read from its end, where each proxy appends the address of its caller. The
    first address that is not a trusted proxy is the client. Earlier entries are written by the
    client itself.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.trusted = [ip_network(network) for network in settings.TRUSTED_PROXIES]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self._is_trusted(str(request.META.get("REMOTE_ADDR", ""))):
            for name in PROXY_HEADERS:
                request.META.pop(name, None)
        if "HTTP_X_FORWARDED_FOR" in request.META:
            request.META["REMOTE_ADDR"] = self.find_client(request.META)
        return self.get_response(request)

    def find_client(self, headers: dict[str, Any]) -> str:
        client = str(headers.get("REMOTE_ADDR", ""))
        forwarded = [part.strip() for part in headers["HTTP_X_FORWARDED_FOR"].split(",")]
        while forwarded and self._is_trusted(client) and _is_ip_address(forwarded[-1]):
            client = forwarded.pop()
        return client

    def _is_trusted(self, client: str) -> bool:
        return _is_ip_address(client) and any(
            ip_address(client) in network for network in self.trusted
        )


def _is_ip_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

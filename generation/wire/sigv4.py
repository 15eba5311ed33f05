"""AWS Signature Version 4 of a request with a body, without the query form.

Page: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
Used by the client and the sandbox. Tested against AWS's test suite and botocore.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_STANDARD_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An access key, with a session token if it is temporary."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The day, region and service that a signature is valid for."""

    date: str  # YYYYMMDD, UTC
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def sign(
    credentials: Credentials,
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers of a request with its signature. ``url`` has no query."""
    timestamp = now.astimezone(UTC).strftime(DATE_FORMAT)
    signed = {**headers, "Host": get_host(url), "X-Amz-Date": timestamp}
    if credentials.session_token:
        signed["X-Amz-Security-Token"] = credentials.session_token
    scope = Scope(date=timestamp[:8], region=region, service=service)
    signature = compute_signature(
        credentials.secret_access_key,
        method=method,
        path=urlsplit(url).path,
        headers=signed,
        body=body,
        scope=scope,
        timestamp=timestamp,
    )
    names = ";".join(_canonical_headers(signed))
    signed["Authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names},"
        f" Signature={signature}"
    )
    return signed


def compute_signature(
    secret_access_key: str,
    *,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    scope: Scope,
    timestamp: str,
) -> str:
    """Return the signature over exactly these headers, in hexadecimal digits."""
    lines = _canonical_headers(headers)
    request = "\n".join(
        [
            method,
            _canonical_path(path),
            "",  # the query
            *(f"{name}:{value}" for name, value in lines.items()),
            "",
            ";".join(lines),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join([ALGORITHM, timestamp, str(scope), digest])
    key = f"AWS4{secret_access_key}".encode()
    for part in str(scope).split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def get_host(url: str) -> str:
    """Return the Host header of a URL: without a log-in and without its scheme's usual port."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return host.removesuffix(f":{_STANDARD_PORTS.get(parts.scheme, 0)}")


def _canonical_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers by lower-case name, sorted, with single spaces."""
    return {
        name.lower(): " ".join(value.split())
        for name, value in sorted(headers.items(), key=lambda item: item[0].lower())
    }


def _canonical_path(path: str) -> str:
    """Return the path encoded twice, as every service but S3 requires."""
    return quote(quote(unquote(path) or "/", safe="/-_.~"), safe="/-_.~")

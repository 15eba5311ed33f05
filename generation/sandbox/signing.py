"""Presigned image URLs in the style of S3: public until they expire, not forgeable.

Format: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html. The signature
is our own HMAC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from urllib.parse import urlencode

from django.utils.crypto import constant_time_compare, salted_hmac

LIFETIME = 3600  # seconds
_DATE = "%Y%m%dT%H%M%SZ"


class Verdict(Enum):
    """The result of a signature check."""

    VALID = "valid"
    EXPIRED = "expired"
    FORGED = "forged"


def sign_query(path: str, signed_at: datetime) -> str:
    """Return the query string that opens ``path`` for LIFETIME seconds from ``signed_at``."""
    date = signed_at.astimezone(UTC).strftime(_DATE)
    return urlencode(
        {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"SANDBOX/{date[:8]}/us-east-1/s3/aws4_request",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(LIFETIME),
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": _sign(path, date, str(LIFETIME)),
        }
    )


def verify_query(path: str, given: Mapping[str, str], now: datetime) -> Verdict:
    """Check the signature and the expiry of a URL's query string."""
    date, expires = given.get("X-Amz-Date", ""), given.get("X-Amz-Expires", "")
    if not constant_time_compare(given.get("X-Amz-Signature", ""), _sign(path, date, expires)):
        return Verdict.FORGED
    # The signature is valid, so both values are ours and parse.
    until = datetime.strptime(date, _DATE).replace(tzinfo=UTC) + timedelta(seconds=int(expires))
    return Verdict.EXPIRED if now >= until else Verdict.VALID


def _sign(path: str, date: str, expires: str) -> str:
    return salted_hmac(
        "generation.sandbox.signing", f"{path}\n{date}\n{expires}", algorithm="sha256"
    ).hexdigest()

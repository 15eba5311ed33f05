"""Signatures of outgoing webhooks."""

from __future__ import annotations

import hashlib
import hmac


def sign(secret: str, content: bytes, *, at: int) -> str:
    """Return the header X-Loupe-Signature: HMAC-SHA256 over the time in seconds and the body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + content, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"

"""Removal of secrets from a provider's answers: signatures in URLs and webhook secrets."""

from __future__ import annotations

import re
from typing import Any

# The texts are untrusted and long, so the patterns take linear time: each one matches where it
# begins, or fails after a bounded number of characters.
#
# The query of a URL contains signatures. The URL may be inside JSON inside a string.
_QUERY = re.compile(r"(https?://[^\s\"'<>\\?#]*+)(?:[?#][^\s\"'<>\\]*+)?", re.IGNORECASE)
_WEBHOOK = re.compile(r"(/webhooks/[a-z]{1,40}/)[^\s\"'<>\\/?#]+", re.IGNORECASE)
_LOOSE = re.compile(
    r"((?:X-Amz-[A-Za-z0-9-]{1,40}|Signature|Key-Pair-Id|Policy)=)[^\s\"'<>\\&]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """Remove the query of every URL, and webhook secrets."""
    if "/" not in text and "=" not in text:  # most strings: no pattern can match
        return text
    return _LOOSE.sub(r"\1[redacted]", _WEBHOOK.sub(r"\1[redacted]", _QUERY.sub(r"\1", text)))


def without_secrets(value: Any) -> Any:
    """Redact every text in a JSON value. The structure stays the same."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {redact(str(name)): without_secrets(item) for name, item in value.items()}
    return value

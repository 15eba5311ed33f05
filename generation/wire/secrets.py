"""What must not be kept of what a provider says: the signatures in addresses, and the secrets in
ours.
"""

from __future__ import annotations

import re
from typing import Any

# Texts come from strangers and are long, so the patterns take linear time: each one matches where
# it begins, or gives up after a bounded number of characters.
#
# The query of a URL holds signatures. The URL may stand inside JSON inside a string.
_QUERY = re.compile(r"(https?://[^\s\"'<>\\?#]*+)(?:[?#][^\s\"'<>\\]*+)?", re.IGNORECASE)
_WEBHOOK = re.compile(r"(/webhooks/[a-z]{1,40}/)[^\s\"'<>\\/?#]+", re.IGNORECASE)
_LOOSE = re.compile(
    r"((?:X-Amz-[A-Za-z0-9-]{1,40}|Signature|Key-Pair-Id|Policy)=)[^\s\"'<>\\&]+", re.IGNORECASE
)


def redact(text: str) -> str:
    """Cut every address off before its query, and remove webhook secrets."""
    if "/" not in text and "=" not in text:  # most strings: none of the patterns can match
        return text
    return _LOOSE.sub(r"\1[redacted]", _WEBHOOK.sub(r"\1[redacted]", _QUERY.sub(r"\1", text)))


def without_secrets(value: Any) -> Any:
    """Any JSON value, redacted all the way down; its shape stays as it was."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {redact(str(name)): without_secrets(item) for name, item in value.items()}
    return value

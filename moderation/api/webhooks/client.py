"""HTTP client of webhooks: Novita's event, signed, sent through the guarded client."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from django.conf import settings

from generation import fetching
from generation.core.signatures import sign

EVENT_TYPE = "ASYNC_TASK_RESULT"
TIMEOUT = 5.0  # seconds, as documented by Novita
ANSWER_MAX = 1024 * 1024


def build_event(payload: dict[str, Any]) -> bytes:
    return json.dumps({"event_type": EVENT_TYPE, "payload": payload}, ensure_ascii=False).encode()


def build_headers(*, secret: str, delivery: uuid.UUID, content: bytes) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "X-Loupe-Signature": sign(secret, content, at=int(time.time())),
        "X-Loupe-Delivery": str(delivery),
    }


def send(url: str, *, secret: str, delivery: uuid.UUID, content: bytes) -> int:
    """Send one attempt and return the HTTP status. Uses no database.

    Raises BlockedAddressError or FetchError.
    """
    answer = fetching.send(
        "POST",
        url,
        content=content,
        headers=build_headers(secret=secret, delivery=delivery, content=content),
        allow=settings.CALLER_ALLOW,
        max_bytes=ANSWER_MAX,
        deadline=TIMEOUT,
    )
    return answer.status


def is_success(status: int) -> bool:
    return 200 <= status < 300

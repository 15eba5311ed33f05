"""Test events for webhooks, sent from the page Developers with the key's own signature."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from generation import fetching
from generation.models import ApiKey
from generation.wire import task as wire
from moderation.api.webhooks import client


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """The request of a test event and its response."""

    __test__ = False  # keeps pytest from collecting it

    url: str
    content: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None  # None: no response
    duration_ms: int = 0
    error: str = ""

    @property
    def is_success(self) -> bool:
        return self.status is not None and client.is_success(self.status)

    @property
    def words(self) -> str:
        """Return what the response means."""
        if self.error:
            return self.error
        if self.is_success:
            return "The address accepts events: a real event would count as delivered."
        return (
            "The address responded, but not with a status from 200 to 299. A real event would be"
            " sent again, up to five times."
        )


def send_test(*, key: ApiKey, url: str) -> TestResult:
    """Send one signed event about a task that does not exist."""
    delivery = uuid.uuid4()
    content = client.build_event(_build_payload())
    began = time.monotonic()
    status, error = None, ""
    try:
        status = client.send(url, secret=key.webhook_secret, delivery=delivery, content=content)
    except fetching.BlockedAddressError as blocked:
        error = f"The URL may not be called: {blocked}"
    except fetching.FetchError as failed:
        error = str(failed)
    return TestResult(
        url=url,
        content=content.decode(),
        headers=client.build_headers(secret=key.webhook_secret, delivery=delivery, content=content),
        status=status,
        duration_ms=round(1000 * (time.monotonic() - began)),
        error=error,
    )


def _build_payload() -> dict[str, object]:
    return wire.TaskResultReply(
        extra=wire.TaskExtra.model_validate(
            {"seed": "0", "moderation": {"images": [], "event": "test", "round": 0}}
        ),
        task=wire.Task(
            task_id=str(uuid.uuid4()),
            task_type=wire.TASK_TYPE_TXT2IMG,
            status=wire.STATUS_FAILED,
            reason="This is a test of the webhook.",
            progress_percent=0,
        ),
        images=[],
    ).to_wire()

"""Webhooks of the simulated Novita: an event over real HTTP when a task has ended.

Page: https://novita.ai/docs/api-reference/model-apis-webhook. A thread of the web process waits for
the end, so the call is lost if the process ends first. Novita's calls can be lost too, so no client
may depend on them.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from django.utils import timezone

from generation import fetching
from generation.sandbox import results
from generation.sandbox.models import SandboxTask
from generation.wire.txt2img import Txt2ImgBody, Webhook

log = logging.getLogger("loupe.sandbox")

EVENT_TYPE = "ASYNC_TASK_RESULT"
TIMEOUT = 5.0  # seconds, as documented
RETRIES = 5  # as documented; the intervals are not documented
PAUSE = 1.0  # seconds before the first retry, doubled before each later one


def remove_webhook(body: Txt2ImgBody) -> Txt2ImgBody:
    """Return the body without its webhook.

    The webhook's URL is a secret: it is not stored, and it does not distinguish bodies.
    """
    return body.model_copy(update={"extra": body.extra.model_copy(update={"webhook": None})})


def announce_result(task: SandboxTask, webhook: Webhook | None, base: str) -> None:
    """Call the webhook when the task has ended. ``base`` is the URL of this server."""
    if webhook is not None:
        threading.Thread(
            target=_deliver, args=(task, webhook, base), name="sandbox-webhook", daemon=True
        ).start()


def _deliver(task: SandboxTask, webhook: Webhook, base: str) -> None:
    """Wait for the end of the task and call the webhook, with retries.

    Uses no database, because the thread would hold its own connection.
    """
    time.sleep(max((task.ready_at - timezone.now()).total_seconds(), 0))
    content = json.dumps(make_event(task, webhook, lambda path: urljoin(base, path))).encode()
    for attempt in range(1 + RETRIES):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        try:
            answer = fetching.send(
                "POST",
                webhook.url,
                content=content,
                headers={"content-type": "application/json"},
                allow=settings.FETCH_ALLOW,
                max_bytes=64 * 1024,
                deadline=TIMEOUT,
            )
        except fetching.BlockedAddressError as blocked:
            log.warning("the webhook of task %s may not be called: %s", task.task_id, blocked)
            return
        except fetching.FetchError:
            continue
        if 200 <= answer.status < 300:
            return
    log.warning("the webhook of task %s could not be reached", task.task_id)


def make_event(
    task: SandboxTask, webhook: Webhook, absolute: Callable[[str], str]
) -> dict[str, Any]:
    """Return the event: the task result at that time, including the webhook."""
    payload = results.make_reply(task, max(timezone.now(), task.ready_at), absolute).to_wire()
    payload["extra"]["webhook"] = {"url": webhook.url}
    return {"event_type": EVENT_TYPE, "payload": payload}

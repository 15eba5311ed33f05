"""The sandbox calls back: Novita's event, over real HTTP, when a task has ended.

Page: https://novita.ai/docs/api-reference/model-apis-webhook. A thread of the web process waits for
the end, so a call is lost when that process ends first; Novita's may be lost too, and nobody may
depend on either.
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
RETRIES = 5  # as documented; how far apart is not
PAUSE = 1.0  # seconds before the first retry, twice as long before each later one


def without(body: Txt2ImgBody) -> Txt2ImgBody:
    """The body without its webhook, whose address is a secret: it is not stored, and does not make
    a body another.
    """
    return body.model_copy(update={"extra": body.extra.model_copy(update={"webhook": None})})


def announce(task: SandboxTask, webhook: Webhook | None, base: str) -> None:
    """Call the webhook as soon as the task has ended. ``base``: the address of this server."""
    if webhook is not None:
        threading.Thread(
            target=_deliver, args=(task, webhook, base), name="sandbox-webhook", daemon=True
        ).start()


def _deliver(task: SandboxTask, webhook: Webhook, base: str) -> None:
    """Touches no database: the thread would hold a connection of its own."""
    time.sleep(max((task.ready_at - timezone.now()).total_seconds(), 0))
    content = json.dumps(event(task, webhook, lambda path: urljoin(base, path))).encode()
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


def event(task: SandboxTask, webhook: Webhook, absolute: Callable[[str], str]) -> dict[str, Any]:
    """What is sent: the task result of that moment, which repeats the webhook."""
    payload = results.reply(task, max(timezone.now(), task.ready_at), absolute).to_wire()
    payload["extra"]["webhook"] = {"url": webhook.url}
    return {"event_type": EVENT_TYPE, "payload": payload}

"""``extra.webhook.test_mode``: a sample event, sent during the call.

Nothing is generated, stored or counted.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings

from generation import fetching
from generation.models import ApiKey
from generation.wire import task as wire
from generation.wire.txt2img import Txt2ImgBody, Webhook
from moderation.api.auth import ApiError, ApiErrorCode
from moderation.api.webhooks import client

# One message for every failure: to tell a refused connection from a timeout would let callers map
# the network.
REFUSED = (
    "extra.webhook.url did not accept the test event. It must be public and "
    "respond with 2xx within 5 seconds."
)


def announce(*, key: ApiKey, body: Txt2ImgBody, webhook: Webhook, status: str) -> uuid.UUID:
    """Send the event once, and return the id of a task that does not exist.

    Raises ApiError when the event was not accepted.
    """
    task_id, delivery = uuid.uuid4(), uuid.uuid4()
    content = client.build_event(_payload(task_id, body, webhook, status))
    try:
        answer = client.send(
            webhook.url, secret=key.webhook_secret, delivery=delivery, content=content
        )
    except (fetching.BlockedAddressError, fetching.FetchError):
        raise ApiError(ApiErrorCode.BODY_INVALID, REFUSED) from None
    if not client.is_success(answer):
        raise ApiError(ApiErrorCode.BODY_INVALID, REFUSED)
    return task_id


def _payload(
    task_id: uuid.UUID, body: Txt2ImgBody, webhook: Webhook, status: str
) -> dict[str, Any]:
    succeeds = status == wire.STATUS_SUCCEED
    kind = body.extra.response_image_type
    extra = {
        "seed": str(max(body.request.seed, 0)),
        "enable_nsfw_detection": body.extra.enable_nsfw_detection,
        "webhook": webhook.model_dump(mode="json", exclude_none=True),
        "moderation": {"images": [], "event": "test", "round": 0},
    }
    image = wire.Image(image_url=f"{settings.PUBLIC_URL}/v3/images/test.{kind}", image_type=kind)
    return wire.TaskResultReply(
        extra=wire.TaskExtra.model_validate(extra),
        task=wire.Task(
            task_id=str(task_id),
            task_type=wire.TASK_TYPE_TXT2IMG,
            status=status,
            reason="" if succeeds else "This is a test of the webhook.",
            progress_percent=100 if succeeds else 0,
        ),
        images=[image] * body.request.image_num if succeeds else [],
    ).to_wire()

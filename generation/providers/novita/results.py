"""Parser for Novita's task results.

All endpoints of the asynchronous family (img2img, upscale, …) use this format. Page:
https://novita.ai/docs/api-reference/model-apis-task-result. Its text calls the images ``imgs``; the
responses and all examples call them ``images``.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from generation.providers.base import (
    Detection,
    ProviderBusyError,
    ResultImage,
    TaskResult,
    TaskState,
)
from generation.providers.http import RAW_ANSWER_MAX, Answer
from generation.wire import task as wire
from generation.wire.base import is_object
from generation.wire.parsing import parse_integer

TTL_DEFAULT = 3600  # seconds, documented for every txt2img image
SEED_MAX = 2**63 - 1

_STATES = {
    wire.STATUS_QUEUED: TaskState.QUEUED,
    wire.STATUS_PROCESSING: TaskState.PROCESSING,
    wire.STATUS_SUCCEED: TaskState.SUCCEEDED,
    wire.STATUS_FAILED: TaskState.FAILED,
}


def parse_result(label: str, task_id: str, answer: Answer) -> TaskResult:
    """Parse a task result.

    Raises ProviderBusyError, with the raw response, if it is not a result of this task: the task is
    paid for, so the poll is retried.
    """
    raw: Any = None
    try:
        raw = answer.json()
        reply = wire.TaskResultReply.model_validate(raw)
    except ValueError:
        start = (
            answer.body[: 4 * RAW_ANSWER_MAX]
            .decode(errors="replace")
            .replace("\0", "")[:RAW_ANSWER_MAX]
        )
        raise _unreadable_result(
            f"{label} answered about a task in a way that could not be read.",
            raw or {"text": start},
        ) from None
    if reply.task.task_id != task_id or not is_object(raw):
        raise _unreadable_result(f"{label} returned another task than the requested one.", raw)
    state = _STATES.get(reply.task.status, TaskState.UNRECOGNISED)
    return TaskResult(
        task_id=task_id,
        state=state,
        progress=_clamp(reply.task.progress_percent, 100),
        eta_seconds=_clamp(reply.task.eta, 86_400),
        # For an undocumented status only the status itself is known.
        reason=reply.task.reason
        or (reply.task.status[:80] if state is TaskState.UNRECOGNISED else ""),
        seed=_parse_seed(reply.extra.seed),
        images=_parse_images(reply, raw),
        raw=raw,
    )


def _unreadable_result(message: str, raw: object) -> ProviderBusyError:
    """Return an error that carries the raw response."""
    error = ProviderBusyError(message, reason="UNREADABLE_RESULT")
    error.raw = raw
    return error


def _parse_images(reply: wire.TaskResultReply, raw: dict[str, Any]) -> tuple[ResultImage, ...]:
    now = datetime.now(UTC)
    seeds = _parse_seeds(reply.extra.debug_info, len(reply.images))
    rows: list[Any] = raw.get("images") or []
    return tuple(
        ResultImage(
            position=position,
            # An entry without a URL keeps its position: fetching it fails with a reason.
            url=image.image_url,
            expires_at=_compute_expiry(image, now),
            image_type=image.image_type[:10],
            detection=_parse_detection(
                row.get("nsfw_detection_result") if is_object(row) else None, image
            ),
            seed=seed,
        )
        for position, (image, row, seed) in enumerate(zip(reply.images, rows, seeds, strict=True))
    )


def _parse_detection(given: object, image: wire.Image) -> Detection | None:
    """Convert a detection; None only if the response contains none.

    For ``{}`` or an unreadable one ``valid`` is None.
    """
    if given is None:
        return None
    found = image.nsfw_detection_result
    if found is None:
        return Detection(valid=None, confidence=None)
    readable = found.confidence is not None and 0 <= found.confidence <= 100
    return Detection(
        valid=found.valid, confidence=Decimal(str(found.confidence)) if readable else None
    )


def _parse_seeds(info: wire.DebugInfo | None, count: int) -> list[int | None]:
    """Return the seeds from the JSON inside ``request_info``.

    All are None unless there is exactly one per image.
    """
    unknown: list[int | None] = [None] * count
    try:
        request_info = json.loads(info.request_info) if info else None
    except (ValueError, RecursionError):
        return unknown
    given = request_info.get("seeds") if is_object(request_info) else None
    return (
        [_parse_seed(seed) for seed in given]
        if isinstance(given, list) and len(given) == count
        else unknown
    )


def _parse_seed(value: object) -> int | None:
    """Parse a seed, a number or a string; None for anything else, including -1 (random)."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return parse_integer(text, high=SEED_MAX)


def _compute_expiry(image: wire.Image, now: datetime) -> datetime:
    """Return the earlier of the stated time to live and the signature's expiry.

    A ttl of 0 or an invalid one counts as missing.
    """
    try:
        ttl = int(image.image_url_ttl)
    except ValueError:
        ttl = 0
    signed = _parse_signed_expiry(image.image_url)
    stated = now + timedelta(seconds=ttl) if 0 < ttl <= 604_800 else None
    known = [timestamp for timestamp in (signed, stated) if timestamp is not None]
    return min(known) if known else now + timedelta(seconds=TTL_DEFAULT)


def _parse_signed_expiry(url: str) -> datetime | None:
    """Return the expiry of a presigned S3 URL; None for other URLs.

    Uses X-Amz-Date and X-Amz-Expires.
    """
    try:
        query = parse_qs(urlsplit(url).query)
        date, seconds = query["X-Amz-Date"][0], query["X-Amz-Expires"][0]
        if not re.fullmatch(r"\d{1,6}", seconds, re.ASCII):
            return None
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, KeyError):
        return None
    return signed_at + timedelta(seconds=int(seconds))


def _clamp(value: int, high: int) -> int:
    """Limit a value to 0..high."""
    return min(max(value, 0), high)

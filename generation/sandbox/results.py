"""Novita's task result, computed from the task and the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.urls import reverse

from generation.sandbox import cards, signing
from generation.sandbox.models import SandboxTask
from generation.wire import task as wire
from generation.wire.request_info import dump_request_info
from generation.wire.txt2img import Txt2ImgBody

# Novita's detector also reports some confidence for harmless images.
_BACKGROUND_MAX = 4  # percent


def make_reply(
    task: SandboxTask, now: datetime, absolute: Callable[[str], str]
) -> wire.TaskResultReply:
    """Return the task result. ``absolute`` converts a path of this server to a URL."""
    status, body = task.status(now), task.accepted
    succeeded = status == wire.STATUS_SUCCEED
    ended = succeeded or status == wire.STATUS_FAILED
    return wire.TaskResultReply(
        extra=wire.TaskExtra(
            seed=task.seed,
            enable_nsfw_detection=body.extra.enable_nsfw_detection,
            debug_info=_make_debug_info(task, body) if ended else None,
        ),
        task=wire.Task(
            task_id=str(task.task_id),
            task_type=wire.TASK_TYPE_TXT2IMG,
            status=status,
            reason="The sandbox was asked to fail this task (sandbox:fail)."
            if status == wire.STATUS_FAILED
            else "",
            eta=task.eta(now),
            progress_percent=task.progress(now),
        ),
        images=[
            _make_image(task, body, position, now, absolute)
            for position in range(body.request.image_num)
        ]
        if succeeded
        else [],
    )


def is_missing(task: SandboxTask, position: int) -> bool:
    """Return whether an image's URL has no content.

    The image does not exist, or ``sandbox:partial`` leaves it out.
    """
    body = task.accepted
    last = body.request.image_num - 1
    return (
        task.fails
        or position > last
        or (position == last and "partial" in cards.parse_steering(body.request.prompt))
    )


def _make_image(
    task: SandboxTask,
    body: Txt2ImgBody,
    position: int,
    now: datetime,
    absolute: Callable[[str], str],
) -> wire.Image:
    kind = body.extra.response_image_type
    path = reverse("sandbox:novita-image", args=[task.task_id, position, kind])
    steering = cards.parse_steering(body.request.prompt)
    signed_at = now - timedelta(seconds=2 * signing.LIFETIME) if "expired" in steering else now
    return wire.Image(
        image_url=absolute(f"{path}?{signing.sign_query(path, signed_at)}"),
        image_url_ttl=str(signing.LIFETIME),
        image_type=kind,
        nsfw_detection_result=_make_detection(task, body, steering, position),
    )


def _make_detection(
    task: SandboxTask, body: Txt2ImgBody, steering: cards.Steering, position: int
) -> wire.NsfwDetection | None:
    if not body.extra.enable_nsfw_detection:
        return None
    if "invalid-detection" in steering:
        return wire.NsfwDetection(valid=False, confidence=0)
    labels = cards.labels_on_image(steering.labels, position)
    found = cards.compute_novita_confidence(labels, body.extra.nsfw_detection_level)
    background = (int(task.seed) + position) % (_BACKGROUND_MAX + 1)
    return wire.NsfwDetection(valid=True, confidence=max(found, background))


def _make_debug_info(task: SandboxTask, body: Txt2ImgBody) -> wire.DebugInfo:
    """Return the debug information.

    It must be complete, because the official SDK fails on a part of it. It omits the webhook's URL,
    which is secret.
    """
    seeds = [int(task.seed) + position for position in range(body.request.image_num)]
    request = body.request.model_dump(mode="json", exclude_none=True)
    return wire.DebugInfo(
        request_info=dump_request_info(request, seeds),
        submit_time_ms=_to_milliseconds(task.submitted_at),
        execute_time_ms=_to_milliseconds(task.starts_at),
        complete_time_ms=_to_milliseconds(task.ready_at),
    )


def _to_milliseconds(timestamp: datetime) -> str:
    return str(int(timestamp.timestamp() * 1000))

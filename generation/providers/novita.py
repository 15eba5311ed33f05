"""Novita's asynchronous txt2img: submit, task result, models.

Pages: https://novita.ai/docs/api-reference/model-apis-txt2img, .../model-apis-task-result, .../model-apis-get-model.
Novita has been retiring its image endpoints; a 404 on submit therefore means that the endpoint is gone.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import ValidationError

from generation.providers.base import (
    Detection,
    Model,
    ModelPage,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderMisconfigured,
    ProviderRejected,
    ResultImage,
    Submission,
    TaskResult,
    TaskState,
)
from generation.providers.http import CONCURRENCY, Answer, HttpProvider, each
from generation.wire import flat
from generation.wire import task as wire
from generation.wire.txt2img import Txt2ImgBody, explain

SUBMIT_PATH = "/v3/async/txt2img"
RESULT_PATH = "/v3/async/task-result"
MODELS_PATH = "/v3/model"
MODELS_MAX = 100  # rows per page
TTL_DEFAULT = 3600  # seconds, documented for every txt2img image

_STATES = {
    wire.STATUS_QUEUED: TaskState.QUEUED,
    wire.STATUS_PROCESSING: TaskState.PROCESSING,
    wire.STATUS_SUCCEED: TaskState.SUCCEEDED,
    wire.STATUS_FAILED: TaskState.FAILED,
}
# The older envelope's codes: 4 authentication, 7 balance; -1 and 9 are failures inside Novita after it took the call.
_ENVELOPE_ERRORS: dict[int, type[ProviderError]] = {
    4: ProviderMisconfigured,
    7: ProviderMisconfigured,
    -1: OutcomeUnknown,
    9: OutcomeUnknown,
}


class Novita(HttpProvider):
    """Novita, or anything that speaks its wire format at ``base_url``. No network until the first call."""

    def __init__(self, *, slug: str, api_key: str, base_url: str, label: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        super().__init__(slug=slug, label=label, base_url=base_url, secret=api_key, headers=headers)

    def submit(self, submission: Submission, *, on_answer: Callable[[str], None]) -> str:
        """See ``ImageProvider.submit``. A parameter outside the documented range is refused before anything is sent."""
        try:
            body = Txt2ImgBody.model_validate(flat.nest(asdict(submission))).to_wire()
        except ValidationError as error:
            raise ProviderRejected(f"{self.label} would refuse this request: {explain(error)}") from None
        answer = self.post(SUBMIT_PATH, body, on_answer=on_answer)
        return self._task_id(answer)

    def _task_id(self, answer: Answer) -> str:
        try:
            reply = wire.SubmitReply.read(answer.json())
        except ValueError:
            raise OutcomeUnknown(
                f"{self.label} accepted the request, but its answer could not be read. It may be running."
            ) from None
        if reply.task_id:
            return reply.task_id
        if reply.code:
            kind = _ENVELOPE_ERRORS.get(reply.code, ProviderRejected)
            said = self._redacted(" ".join(reply.message.split()))[:300] or "no reason given"
            raise kind(f"{self.label} refused the request: {said} (code {reply.code}).", reason=str(reply.code))
        raise OutcomeUnknown(f"{self.label} accepted the request, but named no task. It may be running.")

    async def poll(self, task_ids: Iterable[str]) -> AsyncIterator[tuple[str, TaskResult | ProviderError]]:
        """See ``ImageProvider.poll``. One session, at most CONCURRENCY reads at once."""
        wanted = list(dict.fromkeys(task_ids))
        async with self.session() as client:

            async def ask(task_id: str) -> TaskResult:
                answer = await self.read(client, RESULT_PATH, {"task_id": task_id})
                return self._task_result(task_id, answer)

            async for pair in each(wanted, ask, limit=min(CONCURRENCY, len(wanted))):
                yield pair

    def _task_result(self, task_id: str, answer: Answer) -> TaskResult:
        try:
            raw = answer.json()
            reply = wire.TaskResultReply.model_validate(raw)
        except ValueError:
            raise ProviderBusy(f"{self.label} answered about a task in a way that could not be read.") from None
        if reply.task.task_id != task_id or not isinstance(raw, dict):
            raise ProviderBusy(f"{self.label} answered about another task than the one asked for.")
        now = datetime.now(UTC)
        return TaskResult(
            task_id=task_id,
            state=_STATES.get(reply.task.status, TaskState.UNRECOGNISED),
            progress=int(_within(reply.task.progress_percent, 100)),
            eta_seconds=math.ceil(_within(reply.task.eta, 86_400)),
            reason=reply.task.reason,
            images=tuple(_image(position, image, now) for position, image in enumerate(reply.images)),
            raw=raw,
        )

    def models(
        self,
        *,
        kind: str = "checkpoint",
        query: str = "",
        is_sdxl: bool | None = None,
        cursor: str = "",
        limit: int = MODELS_MAX,
    ) -> ModelPage:
        """See ``ImageProvider.models``. Rows that cannot be used now, or cannot be read, are left out."""
        params = {"filter.types": kind, "pagination.limit": str(min(max(limit, 1), MODELS_MAX))}
        if query:
            params["filter.query"] = query
        if is_sdxl is not None:
            params["filter.is_sdxl"] = "true" if is_sdxl else "false"
        if cursor:
            params["pagination.cursor"] = cursor
        answer = self.get(MODELS_PATH, params)
        try:
            page: Any = answer.json()
            rows: list[Any] = page.get("models") or []
            pagination = wire.Pagination.model_validate(page.get("pagination") or {})
        except (ValueError, AttributeError):
            raise ProviderBusy(f"{self.label} answered about its models in a way that could not be read.") from None
        return ModelPage(
            models=tuple(model for model in map(_model, rows) if model is not None), next_cursor=pagination.next_cursor
        )


def _image(position: int, image: wire.Image, now: datetime) -> ResultImage:
    """An entry without an address keeps its position: fetching it then fails with a reason instead of silently."""
    return ResultImage(
        position=position,
        url=image.image_url,
        expires_at=_expiry(image, now),
        image_type=image.image_type,
        detection=_detection(image.nsfw_detection_result),
    )


def _detection(found: wire.NsfwDetection | None) -> Detection | None:
    if found is None:
        return None
    readable = found.confidence is not None and 0 <= found.confidence <= 100
    return Detection(valid=found.valid, confidence=Decimal(str(found.confidence)) if readable else None)


def _expiry(image: wire.Image, now: datetime) -> datetime:
    """The earlier of the stated time to live and the URL's own signature; a ttl of 0 or nonsense counts as unstated."""
    try:
        ttl = int(image.image_url_ttl)
    except ValueError:
        ttl = 0
    signed = _signed_until(image.image_url)
    stated = now + timedelta(seconds=ttl) if 0 < ttl <= 604_800 else None
    known = [moment for moment in (signed, stated) if moment is not None]
    return min(known) if known else now + timedelta(seconds=TTL_DEFAULT)


def _signed_until(url: str) -> datetime | None:
    """When a presigned S3 address stops working, from its X-Amz-Date and X-Amz-Expires; None if it is not one."""
    try:
        query = parse_qs(urlsplit(url).query)
        date, seconds = query["X-Amz-Date"][0], query["X-Amz-Expires"][0]
        if not re.fullmatch(r"\d{1,6}", seconds, re.ASCII):
            return None
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (ValueError, KeyError):
        return None
    return signed_at + timedelta(seconds=int(seconds))


def _model(row: object) -> Model | None:
    try:
        found = wire.ModelRow.model_validate(row)
    except ValidationError:
        return None
    if found.status != 1 or not found.sd_name:
        return None
    kind = found.type.name or "checkpoint"
    return Model(
        # Checkpoints and VAEs are named by sd_name; LoRAs and embeddings by sd_name_in_api, as documented for each.
        name=found.sd_name if kind in ("checkpoint", "vae") else found.sd_name_in_api or found.sd_name,
        title=found.name or found.sd_name,
        kind=kind,
        base_model=found.base_model,
        is_sdxl=found.is_sdxl,
        tags=tuple(found.tags),
        cover_url=found.cover_url,
    )


def _within(value: float, high: float) -> float:
    """Clamp to 0..high; what is not a number is 0."""
    return min(max(value, 0.0), high) if math.isfinite(value) else 0.0

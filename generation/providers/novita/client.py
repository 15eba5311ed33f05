"""Client for Novita's asynchronous txt2img: submit, task result, models.

Pages: https://novita.ai/docs/api-reference/model-apis-txt2img, .../model-apis-task-result,
.../model-apis-get-model. Novita has been retiring its image endpoints; a 404 on submit therefore
means that the endpoint is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from pydantic import ValidationError

from generation.providers.base import (
    Model,
    ModelPage,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    Submission,
    TaskResult,
)
from generation.providers.http import CONCURRENCY, Answer, HttpProvider, call_each
from generation.providers.novita import results
from generation.wire import field_map
from generation.wire import task as wire
from generation.wire.txt2img import Txt2ImgBody, explain

SUBMIT_PATH = "/v3/async/txt2img"
RESULT_PATH = "/v3/async/task-result"
MODELS_PATH = "/v3/model"
MODELS_MAX = 100  # rows per page

# Codes of the older envelope: 4 authentication, 7 balance; -1 and 9 are failures inside Novita
# after it accepted the call.
_ENVELOPE_ERRORS: dict[int, type[ProviderError]] = {
    4: ProviderMisconfiguredError,
    7: ProviderMisconfiguredError,
    -1: OutcomeUnknownError,
    9: OutcomeUnknownError,
}


class Novita(HttpProvider):
    """Novita, or a service with its wire format at ``base_url``.

    Creates no connection until a call.
    """

    def __init__(self, *, slug: str, api_key: str, base_url: str, label: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        super().__init__(slug=slug, label=label, base_url=base_url, secret=api_key, headers=headers)

    def submit(self, submission: Submission, *, on_answer: Callable[[str], None]) -> str:
        """Submit a request; see ``ImageProvider.submit``.

        A parameter outside the documented range is refused before anything is sent.
        """
        try:
            nested = field_map.nest(submission.fields, webhook_url=submission.webhook_url)
            body = Txt2ImgBody.model_validate(nested).to_wire()
        except ValidationError as error:
            raise ProviderRejectedError(
                f"{self.label} would refuse this request: {explain(error)}"
            ) from None
        answer = self.post(SUBMIT_PATH, body, on_answer=on_answer)
        return self._task_id(answer)

    def _task_id(self, answer: Answer) -> str:
        """Return the task ID from the response to a submission."""
        try:
            reply = wire.SubmitReply.read(answer.json())
        except ValueError:
            raise OutcomeUnknownError(
                f"{self.label} accepted the request, but its answer could not be read. It may be"
                " running."
            ) from None
        if reply.task_id:
            return reply.task_id
        if reply.code:
            kind = _ENVELOPE_ERRORS.get(reply.code, ProviderRejectedError)
            raw_message = self._redact(" ".join(reply.message.split()))[:300] or "no reason given"
            raise kind(
                f"{self.label} refused the request: {raw_message} (code {reply.code}).",
                reason=str(reply.code),
            )
        raise OutcomeUnknownError(
            f"{self.label} accepted the request, but named no task. It may be running."
        )

    async def poll(
        self, task_ids: Iterable[str]
    ) -> AsyncIterator[tuple[str, TaskResult | ProviderError]]:
        """Poll tasks in one session, at most CONCURRENCY at once; see ``ImageProvider.poll``."""
        wanted = list(dict.fromkeys(task_ids))
        async with self.session() as client:

            async def ask(task_id: str) -> TaskResult:
                answer = await self.read(client, RESULT_PATH, {"task_id": task_id})
                return results.parse_result(self.label, task_id, answer)

            async for pair in call_each(wanted, ask, limit=min(CONCURRENCY, len(wanted))):
                yield pair

    def list_models(
        self,
        *,
        kind: str = "checkpoint",
        query: str = "",
        is_sdxl: bool | None = None,
        visibility: str = "",
        source: str = "",
        cursor: str = "",
        limit: int = MODELS_MAX,
    ) -> ModelPage:
        """Return one page of models; see ``ImageProvider.list_models``.

        Rows that are unavailable or unreadable are left out.
        """
        params = {"filter.types": kind, "pagination.limit": str(min(max(limit, 1), MODELS_MAX))}
        for name, value in (("query", query), ("visibility", visibility), ("source", source)):
            if value:
                params[f"filter.{name}"] = value
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
            raise ProviderBusyError(
                f"{self.label} answered about its models in a way that could not be read."
            ) from None
        return ModelPage(
            models=tuple(model for model in map(_convert_model, rows) if model is not None),
            next_cursor=pagination.next_cursor,
        )


def _convert_model(row: object) -> Model | None:
    """Convert one row of the list; None if it is unavailable or unreadable."""
    try:
        found = wire.ModelRow.model_validate(row)
    except ValidationError:
        return None
    if found.status != 1 or not found.sd_name:
        return None
    kind = found.type.name or "checkpoint"
    return Model(
        # A submission uses sd_name for checkpoints and VAEs, sd_name_in_api for LoRAs and
        # embeddings, as documented for each.
        name=(
            found.sd_name
            if kind in ("checkpoint", "vae")
            else found.sd_name_in_api or found.sd_name
        ),
        title=found.name or found.sd_name,
        kind=kind,
        base_model=found.base_model,
        is_sdxl=found.is_sdxl,
        tags=tuple(found.tags),
        cover_url=found.cover_url,
        number=found.id,
        list_name=found.sd_name,
        api_name=found.sd_name_in_api,
        sha256=found.hash_sha256,
        source=found.source,
        categories=tuple(found.categories),
        base_model_type=found.base_model_type,
        download_url=found.download_url,
        download_url_ttl=found.download_url_ttl,
    )

"""Novita's replies: the result of a task, an error, a submission, a page of models.

Sources: https://novita.ai/docs/api-reference/model-apis-task-result, .../basic-error-code and
.../model-apis-get-model. Reading is tolerant (null is absent, unknown keys are ignored, a status
stays text), because published examples differ from the published schema. ``to_wire`` writes the
form of the documented examples.
"""

from __future__ import annotations

from typing import Any

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from generation.wire.base import WholeNumber, WholeNumberUp, WireModel, is_object

STATUS_QUEUED = "TASK_STATUS_QUEUED"
STATUS_PROCESSING = "TASK_STATUS_PROCESSING"
STATUS_SUCCEED = "TASK_STATUS_SUCCEED"
STATUS_FAILED = "TASK_STATUS_FAILED"
STATUSES = (STATUS_QUEUED, STATUS_PROCESSING, STATUS_SUCCEED, STATUS_FAILED)
TASK_TYPE_TXT2IMG = "TXT_TO_IMG"


class _Reply(WireModel):
    # Novita writes some numbers as text (seed, times, ttl), but not the same ones every time.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class _Lenient(_Reply):
    """A reply that reads undocumented values as absent, because the result is already paid."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _unreadable_is_absent(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Replace an unreadable value by the default of its field.

        Raises ValueError for a field without a default, and for ``images``.
        """
        try:
            return handler(value)
        except ValueError:
            field = cls.model_fields[str(info.field_name)]
            if field.is_required() or info.field_name == "images":
                raise  # an empty list would say that there are no images
            return field.get_default(call_default_factory=True)


class Task(_Lenient):
    task_id: str
    task_type: str = ""
    # Or a newer one.
    status: str = Field(description="One of " + ", ".join(STATUSES) + ".")
    reason: str = ""
    eta: WholeNumberUp = 0  # seconds
    progress_percent: WholeNumber = 0  # 0 again once it has succeeded


class DebugInfo(_Lenient):
    request_info: str = ""  # JSON inside text; the only place with a seed per image
    submit_time_ms: str = ""  # milliseconds since 1970
    execute_time_ms: str = ""
    complete_time_ms: str = ""


class TaskExtra(_Lenient):
    model_config = ConfigDict(extra="allow")

    seed: str = ""
    enable_nsfw_detection: bool = False
    debug_info: DebugInfo | None = None


class NsfwDetection(_Reply):
    valid: bool  # the detection ran; it says nothing about the image
    confidence: float | None = None  # 0..100


class Image(_Lenient):
    image_url: str = Field(default="", description="Signed; needs no key; expires.")
    # Text in the examples, a number in the schema.
    image_url_ttl: str | int = Field(default="3600", description="Seconds.")
    image_type: str = ""  # png, jpeg or webp
    # None also for {}, which is in a published example.
    nsfw_detection_result: NsfwDetection | None = None


class Video(_Reply):
    video_url: str = ""
    video_url_ttl: str = ""
    video_type: str = ""


class Audio(_Reply):
    audio_url: str = ""
    audio_url_ttl: str = ""
    audio_type: str = ""
    audio_metadata: dict[str, Any] | None = None


class TaskResultReply(_Lenient):
    """The reply to ``GET /v3/async/task-result``, and the payload of the webhook."""

    extra: TaskExtra = Field(default_factory=TaskExtra)
    task: Task
    images: list[Image] = Field(default_factory=list)
    videos: list[Video] = Field(default_factory=list)
    audios: list[Audio] = Field(default_factory=list)

    @field_validator("images", mode="before")
    @classmethod
    def _keep_positions(cls, value: Any) -> Any:
        """Replace entries that are no objects by empty ones, to keep the places of the others."""
        if not isinstance(value, list):
            return value
        return [entry if is_object(entry) or isinstance(entry, Image) else {} for entry in value]

    def to_wire(self) -> dict[str, Any]:
        reply = self.model_dump(mode="json")
        # Absent, never null: the official SDK fails on an incomplete one.
        if self.extra.debug_info is None:
            del reply["extra"]["debug_info"]
        return reply


class ErrorReply(_Lenient):
    """The body of every reply that is not 200.

    ``reason`` is Novita's own code, such as INVALID_API_KEY.
    """

    code: int = 0  # the HTTP status again
    reason: str = ""
    message: str = ""
    metadata: dict[str, Any] = Field(
        default_factory=dict,
        description=(
            "fields: each invalid field of the body and its requirement. detail: more "
            "about the message."
        ),
    )


class SubmitReply(_Reply):
    """The reply to a submission.

    ``code`` is not 0 when the older envelope ``{code, msg, data}`` contains a refusal.
    """

    task_id: str = ""
    code: int = 0
    message: str = ""

    @classmethod
    def read(cls, answer: object) -> SubmitReply:
        """Read ``{task_id}`` or ``{code, msg, data: {task_id}}``.

        Raises ValidationError, which is a ValueError.
        """
        if not is_object(answer):
            return cls.model_validate(answer)
        data = answer.get("data")
        inner = data if is_object(data) else {}
        return cls.model_validate(
            {
                "task_id": answer.get("task_id") or inner.get("task_id"),
                "code": answer.get("code"),
                "message": answer.get("msg") or answer.get("message"),
            }
        )


class ModelType(_Reply):
    name: str = ""  # checkpoint, lora, … or one outside the filter's list, such as locon
    display_name: str = ""


class ModelRow(_Reply):
    id: int = Field(description="The provider's id, or one derived from the name.")
    name: str = ""  # a title
    hash_sha256: str = ""
    sd_name: str  # the name in a submission
    type: ModelType = Field(default_factory=ModelType)
    categories: list[str] = Field(default_factory=list)
    status: int = 1  # 1: can be used
    download_url: str = Field(
        default="",
        description="As the provider returned it, cached for some minutes.",
    )
    tags: list[str] = Field(default_factory=list)
    cover_url: str = ""
    source: str = ""
    base_model: str = ""
    base_model_type: str = ""
    download_url_ttl: int = 0
    sd_name_in_api: str = ""
    is_sdxl: bool = False


class Pagination(_Reply):
    next_cursor: str = ""  # opaque


class ModelsReply(_Reply):
    """The reply to ``GET /v3/model``."""

    models: list[ModelRow] = Field(default_factory=list)
    pagination: Pagination = Field(default_factory=Pagination)

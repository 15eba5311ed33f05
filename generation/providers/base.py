"""What a provider of images is: frozen values in, frozen values out, and a handful of errors.

Nothing here knows the database. A vendor's JSON never leaves its own module.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol


class ProviderError(Exception):
    """A call that did not bring what was asked for. ``str(error)`` is a sentence for people,
    without any secret.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason  # the provider's own code, such as INVALID_API_KEY
        self.raw: Any = (
            None  # what was answered, where it is worth keeping although it could not be read
        )


class ProviderBusyError(ProviderError):
    """Certainly not accepted; the same call may succeed later (connection refused, 429, 503 with
    Retry-After).
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        retry_after: float | None = None,
        limited: bool = False,
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after  # seconds
        self.limited = limited  # 429: whoever else asks will hear the same


class ProviderRejectedError(ProviderError):
    """Certainly not accepted, and the same call will be refused again (bad prompt, bad
    parameter).
    """


class ProviderMisconfiguredError(ProviderRejectedError):
    """Refused because of us, not of this request: key, balance, permission, a retired endpoint."""


class TaskNotFoundError(ProviderRejectedError):
    """The provider does not know the task (any more)."""


class OutcomeUnknownError(ProviderError):
    """The call may have been accepted: timeout, reset, a 5xx after sending. Sending again may cost
    twice.
    """


class TaskState(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNRECOGNISED = (
        "unrecognised"  # a status outside the documented four: kept, polled again, never guessed
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    model_name: str
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    model_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HiresFix:
    target_width: int
    target_height: int
    strength: float
    upscaler: str | None = None  # None: the provider's choice


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsS3:
    region: str
    bucket: str
    path: str
    save_to_path_directly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomStorage:
    aws_s3: AwsS3


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One txt2img request in our words. Ranges: ``generation.wire.txt2img``; names:
    ``generation.wire.field_map``.
    """

    model_name: str
    prompt: str
    negative_prompt: str = ""
    width: int = 512
    height: int = 512
    image_num: int = 1
    steps: int = 20
    guidance_scale: float = 7.5
    sampler_name: str = "Euler a"
    seed: int = 0
    sd_vae: str = ""
    clip_skip: int | None = None
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    hires_fix: HiresFix | None = None
    refiner_switch_at: float | None = None
    enable_transparent_background: bool = False
    restore_faces: bool = False
    response_image_type: str = "png"
    enable_nsfw_detection: bool = False
    nsfw_detection_level: int = 0
    custom_storage: CustomStorage | None = None
    enterprise_plan: bool = False
    webhook_url: str = ""  # holds a secret; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Novita's own NSFW detection of one image. ``valid`` means that it ran, not that the image is
    clean.
    """

    valid: bool | None  # None: there is an answer, but it does not say
    confidence: Decimal | None  # 0..100


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultImage:
    position: int  # 0-based place in the answer
    url: str
    expires_at: datetime
    image_type: str
    detection: Detection | None = None  # None: the answer holds none
    seed: int | None = None  # this image's own, where the provider tells it


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    task_id: str
    state: TaskState
    progress: int = 0  # percent; 0 on success too, so never a sign of completion
    eta_seconds: int | None = None
    reason: str = ""
    seed: int | None = None  # the submission's, where the provider repeats it
    images: tuple[ResultImage, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    name: str  # what a submission names
    title: str
    kind: str = (
        "checkpoint"  # or lora, vae, textualinversion, or one that the provider has made up since
    )
    base_model: str = ""
    is_sdxl: bool = False
    tags: tuple[str, ...] = ()
    cover_url: str = ""
    # The rest is for programs that list models through us; empty where the provider says nothing.
    number: int | None = None  # the provider's own id
    list_name: str = ""  # its sd_name, where a submission names another one
    api_name: str = ""  # its sd_name_in_api
    sha256: str = ""
    source: str = ""
    categories: tuple[str, ...] = ()
    base_model_type: str = ""
    download_url: str = ""
    download_url_ttl: int = 0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage:
    models: tuple[Model, ...]
    next_cursor: str = ""


class ImageProvider(Protocol):
    """The contract; ``tests/generation/providers/test_contract.py`` holds every implementation to
    it.
    """

    slug: str
    label: str

    def submit(self, submission: Submission, *, on_answer: Callable[[str], None]) -> str:
        """Send one request and return the provider's task id.

        ``on_answer`` gets the first 4 KiB of the raw answer before it is parsed, so that a billed
        task is never lost to a parser. Raises ProviderBusy, ProviderRejected, ProviderMisconfigured
        or OutcomeUnknown.
        """
        ...

    def poll(
        self, task_ids: Iterable[str]
    ) -> AsyncIterator[tuple[str, TaskResult | ProviderError]]:
        """Ask for many tasks at once; yield each task id with its answer, or with the error, as
        they come in.
        """
        ...

    def models(
        self,
        *,
        kind: str = "checkpoint",
        query: str = "",
        is_sdxl: bool | None = None,
        visibility: str = "",
        source: str = "",
        cursor: str = "",
        limit: int = 100,
    ) -> ModelPage:
        """One page of models of a kind (checkpoint, lora, vae, textualinversion). Raises
        ProviderError.

        ``visibility`` and ``source`` are the provider's own filters; empty: not sent. ``cursor`` is
        the ``next_cursor`` of the page before and means nothing to anybody but the provider.
        """
        ...

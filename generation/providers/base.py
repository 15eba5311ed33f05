"""Interface of image providers: immutable values in and out, and a few errors.

Nothing here uses the database. A vendor's JSON stays in the vendor's own module.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol


class ProviderError(Exception):
    """A failed call; ``str(error)`` is a message for people, without secrets."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason  # the provider's own code, such as INVALID_API_KEY
        # The response, if it should be stored although it could not be parsed.
        self.raw: Any = None


class ProviderBusyError(ProviderError):
    """Certainly not accepted, and a retry may succeed.

    Connection refused, 429, 503 with Retry-After.
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
        self.limited = limited  # 429: other calls would be refused too


class ProviderRejectedError(ProviderError):
    """Certainly not accepted, and a retry would be refused again (bad prompt, bad parameter)."""


class ProviderMisconfiguredError(ProviderRejectedError):
    """Refused because of our account or settings: key, balance, permission, retired endpoint."""


class TaskNotFoundError(ProviderRejectedError):
    """The task does not exist at the provider, or no longer."""


class PolicyViolationError(ProviderRejectedError):
    """The content was refused. A sign in itself, but it concerns the whole call."""


class ServerFailedError(ProviderBusyError):
    """500, 502 or 504 with a response: the service is up, but this call failed.

    One image may be the cause.
    """


class UnansweredError(ProviderBusyError):
    """A call that may be repeated was sent, but no complete response came back.

    It may have been billed.
    """


class InvalidAnswerError(ProviderError):
    """A 200 response that is not plausible.

    ``cost`` is the charge for the whole call, None if it is unreadable.
    """

    def __init__(self, message: str, *, cost: Decimal | None = None, currency: str = "") -> None:
        super().__init__(message)
        self.cost, self.currency = cost, currency


class OutcomeUnknownError(ProviderError):
    """Possibly accepted: timeout, reset, or a 5xx after sending. A retry may cost twice."""


class TaskState(StrEnum):
    """The state of a task at the provider."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    # A status outside the documented four: stored and polled again, never guessed.
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True)
class Submission:
    """A txt2img request, independent of the vendor.

    ``fields`` has the names of ``generation.wire.field_map``.
    """

    fields: Mapping[str, Any]
    webhook_url: str = ""  # contains a secret; empty: none


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Novita's own NSFW detection of one image.

    ``valid`` means that the detection ran, not that the image is clean.
    """

    valid: bool | None  # None: a detection result without this field
    confidence: Decimal | None  # 0..100


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultImage:
    """A finished image of a task."""

    position: int  # 0-based position in the response
    url: str
    expires_at: datetime
    image_type: str
    detection: Detection | None = None  # None: the response contains none
    seed: int | None = None  # of this image, if the provider reports it


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """The state of a task, with its images once it has succeeded."""

    task_id: str
    state: TaskState
    progress: int = 0  # percent; may be 0 on success too, so it does not show completion
    eta_seconds: int | None = None
    reason: str = ""
    seed: int | None = None  # of the submission, if the provider repeats it
    images: tuple[ResultImage, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that a provider offers."""

    name: str  # the name that a submission uses
    title: str
    # Or lora, vae, textualinversion, or a kind that the provider has added since.
    kind: str = "checkpoint"
    base_model: str = ""
    is_sdxl: bool = False
    tags: tuple[str, ...] = ()
    cover_url: str = ""
    # The following fields are for programs that list models through our API; empty if not provided.
    number: int | None = None  # the provider's own ID
    list_name: str = ""  # its sd_name, if a submission uses another name
    api_name: str = ""  # its sd_name_in_api
    sha256: str = ""
    source: str = ""
    categories: tuple[str, ...] = ()
    base_model_type: str = ""
    download_url: str = ""
    download_url_ttl: int = 0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage:
    """One page of models."""

    models: tuple[Model, ...]
    next_cursor: str = ""


class ImageProvider(Protocol):
    """Interface of an image provider.

    ``tests/generation/providers/test_contract.py`` tests every implementation.
    """

    slug: str
    label: str

    def submit(self, submission: Submission, *, on_answer: Callable[[str], None]) -> str:
        """Send one request and return the provider's task ID.

        ``on_answer`` receives the first 4 KiB of the raw response before it is parsed, so that a
        billed task is not lost to a parser error. Raises ProviderBusyError, ProviderRejectedError,
        ProviderMisconfiguredError or OutcomeUnknownError.
        """
        ...

    def poll(
        self, task_ids: Iterable[str]
    ) -> AsyncIterator[tuple[str, TaskResult | ProviderError]]:
        """Poll many tasks concurrently; yield each task ID with its result or error on arrival."""
        ...

    def list_models(
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
        """Return one page of models of a kind (checkpoint, lora, vae, textualinversion).

        ``visibility`` and ``source`` are the provider's own filters; empty: not sent. ``cursor`` is
        the ``next_cursor`` of the previous page, opaque to us. Raises ProviderError.
        """
        ...

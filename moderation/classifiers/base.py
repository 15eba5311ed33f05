"""What a classifier is. It judges one stored asset, says what it found, and what it can see at
all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from generation.services import storage_checks

if TYPE_CHECKING:
    from generation.models import Asset


class Coverage(StrEnum):
    """How much of an L1 category a classifier can see. What is not listed it cannot see at all."""

    FULL = "full"
    PARTIAL = "partial"
    HEURISTIC = "heuristic"


class ClassifierError(Exception):
    """The image could not be judged. It then goes to a person; ``retryable`` says whether to ask
    again first.

    ``retry_after`` is for a classifier with a schedule of its own: it is asked again then, however
    often it was asked before, and has to raise without it once it gives up. ``cost`` is what the
    attempt cost all the same, in USD.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        retry_after: timedelta | None = None,
        cost: Decimal = Decimal(0),
    ) -> None:
        super().__init__(message)
        self.retryable = retryable or retry_after is not None
        self.retry_after = retry_after
        self.cost = cost


class ImageUnavailableError(ClassifierError):
    """The stored file is out of reach for now: the storage fails, or it is another host's. Never an
    attempt.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=storage_checks.RETRY_AFTER)


class ServiceBusyError(ClassifierError):
    """A remote classifier is away or has enough for now.
    ``moderation.services.remote_classification`` says how long Loupe waits.

    ``wait``: when it asked to be called again. ``down``: the fault is the service's, so other
    images need not try now.
    """

    def __init__(
        self,
        message: str,
        *,
        wait: timedelta = timedelta(0),
        down: bool = False,
        cost: Decimal = Decimal(0),
    ) -> None:
        super().__init__(message, retryable=True, cost=cost)
        self.wait, self.down = wait, down


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of the image, in fractions (0..1) of its width and height from the top left."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    category: str  # a slug of moderation.taxonomy, L1 or L2
    confidence: Decimal | None  # 0..100, on the classifier's own scale; None: it gives none
    box: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """One answer. ``score`` 0..100 is for answers without a category; ``flagged`` None means it
    gave no verdict.

    ``note`` is a sentence of the classifier's that a person should read with its verdict.
    """

    findings: tuple[Finding, ...] = ()
    flagged: bool | None = None
    score: Decimal | None = None
    covers: Mapping[str, Coverage] = field(
        default_factory=dict
    )  # L1 slug to coverage, of this very run
    cost: Decimal = Decimal(0)  # USD
    note: str = ""
    raw: dict[str, Any] = field(
        default_factory=dict
    )  # "level": the NSFW level that a score was asked at


def read_rendition(asset: Asset) -> bytes:
    """Read the stored image. Raises ImageUnavailableError if that may work later, else
    ClassifierError.
    """
    try:
        with asset.rendition.open("rb") as file:
            return bytes(file.read())
    except FileNotFoundError:
        if reason := storage_checks.explain_absence():
            raise ImageUnavailableError(reason) from None
        raise ClassifierError("The stored image is missing.") from None
    except OSError as error:
        if reason := storage_checks.explain_absence():
            raise ImageUnavailableError(reason) from error
        raise ClassifierError("The stored image could not be read.", retryable=True) from error


class Classifier(Protocol):
    slug: str
    version: str
    # Whether a run of it that found nothing may count towards an approval without the policy saying
    # so by name.
    trusted_when_silent: bool

    @property
    def label(self) -> str:
        """How people call it."""
        ...

    def applies_to(self, asset: Asset) -> bool:
        """Whether it makes sense to ask at all (Novita's detection knows only images whose request
        asked for it).
        """
        ...

    def classify(self, asset: Asset) -> Assessment:
        """Judge the stored rendition. Raises ClassifierError; never returns a guess."""
        ...


@runtime_checkable
class RemoteClassifier(Classifier, Protocol):
    """A classifier behind a network, which judges several images in one call. A pump of its own
    asks it.
    """

    batch_size: int

    def classify_many(
        self, assets: Sequence[Asset]
    ) -> Iterator[Sequence[tuple[Asset, Assessment | ClassifierError]]]:
        """Judge up to ``batch_size`` assets. Yields after each call what it brought; every asset
        comes up once.

        No call may take longer than a pump's slot is held (60 seconds). Raises nothing: an error is
        an outcome.
        """
        ...


@runtime_checkable
class BytesClassifier(Classifier, Protocol):
    """A classifier in this process that needs no stored asset, so it can answer a program at
    once.
    """

    def assess(self, content: bytes) -> Assessment | None:
        """Judge a canonical rendition. None for a kind of image that it never judges. Raises
        ClassifierError.
        """
        ...

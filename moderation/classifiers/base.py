"""Interfaces of classifiers. A classifier judges one image and states what it can see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from generation.services import storage_checks

if TYPE_CHECKING:
    from generation.models import Asset


class Stage(IntEnum):
    """The order in which classifiers run: cheap and close ones first."""

    DELIVERED = 0  # delivered with the image, or instant and free
    LOCAL = 1  # a model in this process
    REMOTE = 2  # a service, which costs time and usually money


class Coverage(StrEnum):
    """The degree to which a classifier sees an L1 category. Unlisted categories are not seen."""

    FULL = "full"
    PARTIAL = "partial"
    HEURISTIC = "heuristic"


class ClassifierError(Exception):
    """An image could not be judged and goes to a person, after retries if ``retryable``.

    ``retry_after`` is for classifiers with their own schedule: they are retried then, whatever the
    number of attempts, and must raise without it to give up. ``cost`` is the cost of the failed
    attempt in USD.
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
    """The stored file is temporarily out of reach. Does not count as an attempt."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after=storage_checks.RETRY_AFTER)


class ServiceBusyError(ClassifierError):
    """A remote classifier is unavailable or overloaded.

    ``wait`` is the delay it asked for. ``down`` means that the whole service fails, so other images
    need not be tried now. ``moderation.services.remote_classification`` defines the waiting.
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
    """A category found in an image."""

    category: str  # slug of moderation.taxonomy, L1 or L2
    confidence: Decimal | None  # 0..100 on the classifier's own scale; None if it gives none
    box: Box | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A classifier's result for one image.

    ``score`` (0..100) is for results without a category. ``flagged`` is None without a verdict.
    ``note`` is a message of the classifier that a person should read with the verdict.
    """

    findings: tuple[Finding, ...] = ()
    flagged: bool | None = None
    score: Decimal | None = None
    covers: Mapping[str, Coverage] = field(default_factory=dict)  # L1 slug to coverage in this run
    cost: Decimal = Decimal(0)  # USD
    note: str = ""
    raw: dict[str, Any] = field(default_factory=dict)  # "level": the NSFW level of the score


def read_rendition(asset: Asset) -> bytes:
    """Read the stored image.

    Raises ImageUnavailableError if a later attempt may succeed, else ClassifierError.
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
    """Members of all classifiers; each one is also an AssetClassifier or a PictureClassifier.

    Two attributes are optional. ``stage`` is a ``Stage``; the default is REMOTE for a remote
    classifier, else LOCAL. ``price`` is the list price of an image in USD; the default is 0.
    """

    slug: str
    version: str
    # A run without findings may count towards an approval, even if the policy does not trust
    # this classifier explicitly.
    trusted_when_silent: bool

    @property
    def label(self) -> str:
        """Name for people."""
        ...

    def applies_to(self, asset: Asset) -> bool:
        """Return whether the classifier can judge this asset.

        Novita's detection, for example, exists only for requests that asked for it.
        """
        ...


@runtime_checkable
class AssetClassifier(Classifier, Protocol):
    """A classifier that needs the stored asset: its source's report, or its identifier."""

    def classify(self, asset: Asset) -> Assessment:
        """Judge an asset. Raises ClassifierError instead of guessing."""
        ...


@runtime_checkable
class RemoteClassifier(AssetClassifier, Protocol):
    """A classifier behind a network that judges several images per call, in a job of its own."""

    batch_size: int

    def classify_many(
        self, assets: Sequence[Asset]
    ) -> Iterator[Sequence[tuple[Asset, Assessment | ClassifierError]]]:
        """Judge up to ``batch_size`` assets; yield the outcomes of each call, each asset once.

        A call must take less time than the lease of a job slot (60 seconds). Errors are outcomes
        and are not raised.
        """
        ...

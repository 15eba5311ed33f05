"""Base of remote classifiers that judge one image per call.

It reads and re-encodes the images, makes a few calls at a time, and converts the errors of the
client to those of classifiers. A subclass makes one call and reads its result.

A round of calls ends before the next one starts, so an image is never in two calls, and a round
takes no longer than its slowest call. A service that limits the rate or answers too late gets half
as many calls at a time, and one more after each round without that.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ServerFailedError,
    UnansweredError,
)
from moderation.classifiers.base import Assessment, ClassifierError, ServiceBusyError
from moderation.classifiers.reencode import Sendable, read_sendable

if TYPE_CHECKING:
    from generation.models import Asset

log = logging.getLogger("loupe.classification")
Outcome = Assessment | ClassifierError
Outcomes = list[tuple["Asset", Outcome]]

CALLS_AT_ONCE = 8
# A service that fails on this many images in a row is down. One failure may be the image's fault,
# and one refusal for too many calls is no outage.
FAILURES_MAX = 3


@dataclass(slots=True)
class _Load:
    """The number of calls at a time, and the failures in a row."""

    calls: int
    failures: int = 0


class OneImageClassifier(abc.ABC):
    """A ``RemoteClassifier``."""

    slug: str
    version: str
    trusted_when_silent: bool
    batch_size = 4 * CALLS_AT_ONCE
    calls_at_once = CALLS_AT_ONCE
    # The settings that a person checks after the service has refused Loupe's account.
    setting_names: str

    def __init__(self) -> None:
        self._load = _Load(self.calls_at_once)

    # --- For subclasses ---
    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Name for people."""

    @property
    def price(self) -> Decimal:
        """USD of a call whose response contains no price."""
        return Decimal(0)

    @abc.abstractmethod
    def explain_off(self) -> str:
        """Return why the service cannot be called, as a sentence; "" if it can."""

    @abc.abstractmethod
    def accepts(self, content: bytes, media_type: str) -> bool:
        """Return whether a call may contain this image; otherwise a reduced JPEG is tried."""

    @abc.abstractmethod
    def _judge(self, asset: Asset, content: bytes, media_type: str) -> Assessment:
        """Make one call of less than 60 seconds; return its result.

        Runs in a thread without database access, so only loaded columns of ``asset`` may be read.
        Raises ProviderError, which this class converts, or ClassifierError.
        """

    # --- RemoteClassifier ---
    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Assessment:
        """Judge one image. Raises ClassifierError."""
        ((_, outcome),) = [pair for outcomes in self.classify_many([asset]) for pair in outcomes]
        if isinstance(outcome, ClassifierError):
            raise outcome
        return outcome

    def classify_many(self, assets: Sequence[Asset]) -> Iterator[Outcomes]:
        """See ``RemoteClassifier.classify_many``; a round of calls counts as one call."""
        if off := self.explain_off():
            yield [(asset, ClassifierError(off)) for asset in assets]
            return
        left = list(assets)
        with ThreadPoolExecutor(self.calls_at_once) as threads:
            while left:
                calls = self._load.calls
                now, left = left[:calls], left[calls:]
                ready, outcomes = self._read_images(now)
                judged = list(threads.map(self._judge_image, ready))
                outcomes += [
                    (asset, outcome) for (asset, _), outcome in zip(ready, judged, strict=True)
                ]
                if busy := self._find_outage(judged):
                    unsent = ServiceBusyError(str(busy), wait=busy.wait, down=True)
                    yield outcomes + [(asset, unsent) for asset in left]
                    return
                yield outcomes

    def _read_images(
        self, assets: Sequence[Asset]
    ) -> tuple[list[tuple[Asset, Sendable]], Outcomes]:
        """Return the readable images, and the errors of the others."""
        ready, unreadable = list[tuple["Asset", Sendable]](), Outcomes()
        for asset in assets:
            try:
                ready.append((asset, read_sendable(asset, self.accepts)))
            except ClassifierError as error:
                unreadable.append((asset, error))
        return ready, unreadable

    def _judge_image(self, pair: tuple[Asset, Sendable]) -> Outcome:
        asset, image = pair
        try:
            assessment = self._judge(asset, image.content, image.media_type)
        except ClassifierError as error:
            return error
        except ProviderError as error:
            return self._convert_error(error)
        except Exception as error:
            # Raised here, it would lose the results of the whole round, which are paid, and the
            # round would be repeated.
            log.exception("%s failed on image %s", self.label, asset.short_id)
            message = f"{self.label} could not judge it ({type(error).__name__})."
            return ClassifierError(message, cost=self.price)
        added: dict[str, Any] = {"service": self.label}
        if image.altered:
            added["altered"] = image.altered
        return replace(assessment, raw={**added, **assessment.raw})

    # --- Errors ---
    def _convert_error(self, error: ProviderError) -> ClassifierError:
        """Convert an error of the client: try again, or leave the image to a person."""
        if isinstance(error, ProviderBusyError):
            return _CallFailedError(
                str(error),
                wait=timedelta(seconds=error.retry_after or 0),
                # A call without an answer may have been billed.
                cost=self.price if isinstance(error, UnansweredError) else Decimal(0),
                # A server with few slots answers late: more calls at a time would make it later.
                limited=error.limited or isinstance(error, UnansweredError),
                # Other calls may succeed, unless several in a row fail.
                alone=error.limited or isinstance(error, ServerFailedError | UnansweredError),
            )
        if isinstance(error, ProviderMisconfiguredError):
            return ClassifierError(f"{error} Check {self.setting_names}.")
        if isinstance(error, InvalidAnswerError):
            billed = error.cost if error.currency in ("", "USD") else None
            return ClassifierError(str(error), cost=self.price if billed is None else billed)
        return ClassifierError(str(error))

    def _find_outage(self, outcomes: Sequence[Outcome]) -> ServiceBusyError | None:
        """Adapt the load to the outcomes of a round; return the error if the service is down."""
        if not outcomes:
            return None
        failed = [outcome for outcome in outcomes if isinstance(outcome, _CallFailedError)]
        self._load.calls = (
            max(1, self._load.calls // 2)
            if any(error.limited for error in failed)
            else min(self.calls_at_once, self._load.calls + 1)
        )
        if len(failed) < len(outcomes):  # one call succeeded, so the service is up
            self._load.failures = 0
            return None
        self._load.failures += len(failed)
        lasting = [error for error in failed if not error.alone]
        if not lasting and self._load.failures < FAILURES_MAX:
            return None
        self._load.failures = 0
        longest = max(lasting or failed, key=lambda error: error.wait)
        longest.down = True
        return longest


class _CallFailedError(ServiceBusyError):
    """A failed call. ``alone``: other calls may succeed. ``limited``: too many calls."""

    def __init__(self, message: str, *, limited: bool, alone: bool, **known: Any) -> None:
        super().__init__(message, **known)
        self.limited, self.alone = limited, alone

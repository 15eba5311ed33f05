"""Classifier of nano-gpt: yes or no for an image, without category and score.

Documentation: https://docs.nano-gpt.com/api-reference/endpoint/nsfw-image.

* **Coverage.** The documentation calls it "binary classification" of "NSFW concepts" and names
  none. Such a classifier looks for explicit content first, so that is covered partially: the
  threshold and the forms are undocumented. Partial nudity, swimwear, violence and all else may or
  may not count as NSFW there and are not covered.
* **Silence is not trusted.** A "no" is shown but approves nothing by itself: its meaning is neither
  documented nor measured.
* **A "yes" goes to a person.** Without a score, a policy has nothing to compare with a threshold.
* **A refusal is a result.** If a call is refused as a policy violation, its images are sent one by
  one, and an image that is refused alone is flagged, with nano-gpt's message.

Images are sent as stored. An image that is too large for a call is reduced in memory, and ``raw``
records that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings

from generation.providers.base import (
    InvalidAnswerError,
    PolicyViolationError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    UnansweredError,
)
from generation.providers.nanogpt import BYTES_MAX, IMAGES_MAX, NanoGpt, Verdict, split_images
from generation.wire.nanogpt import IMAGE_PRICE, data_url_length
from moderation.classifiers.base import (
    Assessment,
    ClassifierError,
    Coverage,
    ServiceBusyError,
    Stage,
)
from moderation.classifiers.reencode import Sendable, read_sendable

if TYPE_CHECKING:
    from generation.models import Asset

Outcome = Assessment | ClassifierError
Outcomes = list[tuple["Asset", Outcome]]

COVERS = {"explicit": Coverage.PARTIAL}
# A server that fails on a call and then on two of its images alone is down. A failure on one image
# alone does not show that.
FAILURES_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """An asset in the form in which it is sent."""

    asset: Asset
    image: Sendable
    owed: Decimal = Decimal(0)  # USD: its share of calls without a result


class NanoGptVerdict:
    """A ``RemoteClassifier``."""

    slug = "nanogpt"
    version = "nsfw-classifier"
    stage = Stage.REMOTE
    price = IMAGE_PRICE
    trusted_when_silent = False
    silence = (
        "Its “no” covers explicit content in part; what it looks for is neither documented nor"
        " measured."
    )
    is_binary = True
    batch_size = IMAGES_MAX

    @property
    def label(self) -> str:
        return settings.NANOGPT["label"] if settings.NANOGPT else "nano-gpt"

    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Assessment:
        """Judge one image. Raises ClassifierError."""
        found = [outcome for outcomes in self.classify_many([asset]) for _, outcome in outcomes]
        if isinstance(found[-1], ClassifierError):
            raise found[-1]
        return found[-1]

    def classify_many(self, assets: Sequence[Asset]) -> Iterator[Outcomes]:
        """See ``RemoteClassifier.classify_many``."""
        if settings.NANOGPT is None:
            off = "nano-gpt is switched off: NANOGPT_API_KEY is not set."
            yield [(asset, ClassifierError(off)) for asset in assets]
            return
        provider = NanoGpt(**settings.NANOGPT)
        ready, unreadable = _prepare(assets)
        if unreadable:
            yield unreadable
        waiting = [
            ready[run.start : run.stop]
            for run in split_images([(s.image.content, s.image.media_type) for s in ready])
        ]
        failures = 0
        while waiting:
            images = waiting.pop(0)
            try:
                outcomes, again = _classify_once(provider, images)
                failures = 0
            except ServerFailedError as error:
                failures += 1
                alone = len(images) > 1 and failures < FAILURES_MAX
                outcomes, again = (
                    ([], images)
                    if alone
                    else (_same_for_all(images, _build_busy_error(error, failures)), [])
                )
            waiting = [[image] for image in again] + waiting
            if any(
                isinstance(outcome, ServiceBusyError) and outcome.down for _, outcome in outcomes
            ):
                busy = _without_cost(outcomes[0][1])
                yield outcomes + [(image.asset, busy) for rest in waiting for image in rest]
                return
            if outcomes:
                yield outcomes


def _classify_once(provider: NanoGpt, images: list[_Sent]) -> tuple[Outcomes, list[_Sent]]:
    """Make one call; return the outcomes, and the images to send one by one instead.

    Raises ServerFailedError.
    """
    try:
        verdicts = provider.classify(
            [(sent.image.content, sent.image.media_type) for sent in images]
        )
    except ProviderMisconfiguredError as error:
        return (
            _same_for_all(
                images,
                ClassifierError(
                    f"{error} Check NANOGPT_API_KEY, its balance, and NANOGPT_BASE_URL."
                ),
            ),
            [],
        )
    except ServerFailedError:
        raise
    except ProviderBusyError as error:
        return _same_for_all(images, _build_busy_error(error)), []
    except (ProviderRejectedError, InvalidAnswerError) as error:
        if len(images) > 1:
            total = (
                _cost_in_usd(error.cost, error.currency, len(images))
                if isinstance(error, InvalidAnswerError)
                else Decimal(0)
            )
            return [], [replace(image, owed=image.owed + total / len(images)) for image in images]
        return [(images[0].asset, _assess_refusal(provider, images[0], error))], []
    except ProviderError as error:
        return _same_for_all(images, ClassifierError(str(error))), []
    return [
        (image.asset, _build_assessment(provider, image, verdict))
        for image, verdict in zip(images, verdicts, strict=True)
    ], []


def _same_for_all(images: list[_Sent], outcome: Outcome) -> Outcomes:
    return [(image.asset, outcome) for image in images]


def _build_busy_error(error: ProviderBusyError, failures: int = 0) -> ServiceBusyError:
    """Build the error for a failed call.

    A server that failed on one call may succeed on others. A server that cannot be reached or
    limits the rate will not.
    """
    return ServiceBusyError(
        str(error),
        wait=timedelta(seconds=error.retry_after or 0),
        down=failures >= FAILURES_MAX or not isinstance(error, ServerFailedError),
        # A call without an answer may have been billed.
        cost=IMAGE_PRICE if isinstance(error, UnansweredError) else Decimal(0),
    )


def _without_cost(outcome: Outcome) -> Outcome:
    """Return the error for images that were not sent because the service is down."""
    assert isinstance(outcome, ServiceBusyError)
    return ServiceBusyError(str(outcome), wait=outcome.wait, down=True)


def _assess_refusal(
    provider: NanoGpt, image: _Sent, error: ProviderRejectedError | InvalidAnswerError
) -> Outcome:
    """Return the outcome for an image that was refused alone."""
    if isinstance(error, PolicyViolationError):
        raw = _build_raw(provider, image) | {"refused": str(error)}
        return Assessment(flagged=True, covers=COVERS, cost=image.owed, note=str(error), raw=raw)
    billed = (
        _cost_in_usd(error.cost, error.currency)
        if isinstance(error, InvalidAnswerError)
        else Decimal(0)
    )
    return ClassifierError(str(error), cost=image.owed + billed)


def _build_assessment(provider: NanoGpt, image: _Sent, verdict: Verdict) -> Assessment:
    raw = _build_raw(provider, image) | {
        "has_nsfw_concepts": verdict.flagged,
        "position": verdict.position,
        "sent": verdict.sent,
        "request_id": verdict.request_id,
        "model": verdict.model,
        "cost": None if verdict.cost is None else str(verdict.cost),
        "currency": verdict.currency,
    }
    cost = image.owed + _cost_in_usd(verdict.cost, verdict.currency)
    return Assessment(flagged=verdict.flagged, covers=COVERS, cost=cost, raw=raw)


def _build_raw(provider: NanoGpt, sent: _Sent) -> dict[str, Any]:
    altered = sent.image.altered
    return {"service": provider.label} | ({"altered": altered} if altered else {})


def _cost_in_usd(cost: Decimal | None, currency: str, images: int = 1) -> Decimal:
    """Return the charged cost in USD, or the list price if it is missing or in another currency."""
    return cost if cost is not None and currency == "USD" else IMAGE_PRICE * images


# --- Request ---
def _prepare(assets: Sequence[Asset]) -> tuple[list[_Sent], Outcomes]:
    ready, unreadable = list[_Sent](), Outcomes()
    for asset in assets:
        try:
            ready.append(_Sent(asset=asset, image=read_sendable(asset, _fits_into_call)))
        except ClassifierError as error:
            unreadable.append((asset, error))
    return ready, unreadable


def _fits_into_call(content: bytes, media_type: str) -> bool:
    return data_url_length(len(content), media_type) <= BYTES_MAX

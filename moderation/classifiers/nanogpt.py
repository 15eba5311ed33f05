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

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from PIL import Image

from generation.providers.base import (
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.providers.nanogpt import (
    BYTES_MAX,
    IMAGES_MAX,
    InvalidAnswerError,
    NanoGpt,
    PolicyViolationError,
    ServerFailedError,
    UnansweredError,
    Verdict,
    split_images,
)
from generation.wire.nanogpt import IMAGE_PRICE, data_url_length
from moderation.classifiers.base import (
    Assessment,
    ClassifierError,
    Coverage,
    ServiceBusyError,
    read_rendition,
)

if TYPE_CHECKING:
    from generation.models import Asset

Outcome = Assessment | ClassifierError
Outcomes = list[tuple["Asset", Outcome]]

COVERS = {"explicit": Coverage.PARTIAL}
# A server that fails on a call and then on two of its images alone is down. A failure on one image
# alone does not show that.
FAILURES_MAX = 3
# Longer side in pixels and JPEG quality, tried in turn until an image fits into a call.
REDUCED_SIZES = ((4096, 90), (2048, 90), (1536, 85), (1024, 85))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """An asset in the form in which it is sent."""

    asset: Asset
    content: bytes
    media_type: str
    altered: str = ""  # the change, if it is not the stored rendition byte for byte
    owed: Decimal = Decimal(0)  # USD: its share of calls without a result


class NanoGptVerdict:
    """A ``RemoteClassifier``."""

    slug = "nanogpt"
    version = "nsfw-classifier"
    trusted_when_silent = False
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
            for run in split_images([(s.content, s.media_type) for s in ready])
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
                busy = outcomes[0][1]
                yield outcomes + [(image.asset, busy) for rest in waiting for image in rest]
                return
            if outcomes:
                yield outcomes


def _classify_once(provider: NanoGpt, images: list[_Sent]) -> tuple[Outcomes, list[_Sent]]:
    """Make one call; return the outcomes, and the images to send one by one instead.

    Raises ServerFailedError.
    """
    try:
        verdicts = provider.classify([(image.content, image.media_type) for image in images])
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


def _build_raw(provider: NanoGpt, image: _Sent) -> dict[str, Any]:
    return {"service": provider.label} | ({"altered": image.altered} if image.altered else {})


def _cost_in_usd(cost: Decimal | None, currency: str, images: int = 1) -> Decimal:
    """Return the charged cost in USD, or the list price if it is missing or in another currency."""
    return cost if cost is not None and currency == "USD" else IMAGE_PRICE * images


# --- Request ---
def _prepare(assets: Sequence[Asset]) -> tuple[list[_Sent], Outcomes]:
    ready, unreadable = list[_Sent](), Outcomes()
    for asset in assets:
        try:
            ready.append(_fit_into_call(asset, read_rendition(asset)))
        except ClassifierError as error:
            unreadable.append((asset, error))
        except OSError:
            unreadable.append(
                (asset, ClassifierError("The stored image could not be read.", retryable=True))
            )
    return ready, unreadable


def _fit_into_call(asset: Asset, content: bytes) -> _Sent:
    """Return the stored rendition, or a copy small enough for a call. Raises OSError."""
    media_type = f"image/{asset.image_type}"
    if data_url_length(len(content), media_type) <= BYTES_MAX:
        return _Sent(asset=asset, content=content, media_type=media_type)
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
        opaque = _flatten_on_white(image)
    for side, quality in REDUCED_SIZES:
        opaque.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        opaque.save(file, "JPEG", quality=quality)
        if data_url_length(len(file.getvalue()), "image/jpeg") <= BYTES_MAX:
            break
    altered = (
        f"{asset.width} × {asset.height} {asset.image_type} sent as {opaque.width} ×"
        f" {opaque.height} jpeg"
    )
    return _Sent(
        asset=asset,
        content=file.getvalue(),
        media_type="image/jpeg",
        altered=f"{altered}, quality {quality}",
    )


def _flatten_on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    ground.alpha_composite(layer)
    return ground.convert("RGB")

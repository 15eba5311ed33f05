"""nano-gpt's NSFW image classification: up to ten images in, one boolean per image out.

Pages: https://docs.nano-gpt.com/api-reference/endpoint/nsfw-image,
.../miscellaneous/error-handling, .../miscellaneous/rate-limits (25 requests a second; limits per
key and day), .../endpoint/check-balance. A repeated call costs money but is otherwise harmless, so
every retryable failure is ProviderBusyError.

A response is accepted only as a whole: one verdict per image, not truncated, without
contradictions. Images are sent as data URLs, never as URLs of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from generation.providers.base import (
    InvalidAnswerError,
    PolicyViolationError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.providers.http import Answer, Call, HttpProvider
from generation.wire import nanogpt as wire
from generation.wire.task import ErrorReply

CLASSIFY_PATH = "/api/nsfw/image"
BALANCE_PATH = "/api/check-balance"
IMAGES_MAX = wire.IMAGES_MAX
# Characters of data URLs in one call. Inferred: this endpoint's page states no limit, but the pages
# on image and video input require uploads of "4 MB or smaller after encoding"
# (.../endpoint/image-generation-openai).
BYTES_MAX = 4_000_000
COST_MAX = Decimal(9999)  # upper limit for the cost of a call; a higher value is a misread response
_CENTS = Decimal("0.000001")

Image = tuple[bytes, str]  # content and media type, such as image/png


class TooLargeError(ProviderRejectedError):
    """413: fewer or smaller images may be accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The classification of one image, and its share of the cost."""

    flagged: bool
    position: int  # 0-based position in the call
    sent: int  # images in the call
    cost: Decimal | None  # in ``currency``; None if the response contains no price
    currency: str
    request_id: str
    model: str


class NanoGpt(HttpProvider):
    """nano-gpt, or a service with its wire format at ``base_url`` (without /api).

    Creates no connection until a call.
    """

    def __init__(self, *, api_key: str, base_url: str, label: str) -> None:
        super().__init__(
            slug="nanogpt",
            label=label,
            base_url=base_url,
            secret=api_key,
            headers={"x-api-key": api_key},
        )

    def classify(self, images: Sequence[Image]) -> list[Verdict]:
        """Classify up to IMAGES_MAX images in one call; return their verdicts in the same order.

        Raises ProviderError; besides the errors of ``base`` these are PolicyViolationError,
        TooLargeError, ServerFailedError, UnansweredError and InvalidAnswerError.
        """
        if not 0 < len(images) <= IMAGES_MAX:
            raise ValueError(f"A call takes 1 to {IMAGES_MAX} images, not {len(images)}.")
        if (
            sum(wire.data_url_length(len(content), media_type) for content, media_type in images)
            > BYTES_MAX
        ):
            raise TooLargeError(f"The images are too large for one call to {self.label}.")
        urls = [wire.data_url(content, media_type) for content, media_type in images]
        answer = self.ask(CLASSIFY_PATH, wire.NsfwRequest(imageDataUrls=urls).to_wire())
        return self._verdicts(answer, len(images))

    def check(self) -> None:
        """Verify URL and key by reading the balance, which is free.

        Raises ProviderError.
        """
        answer = self.ask(BALANCE_PATH, {})
        try:
            wire.Balance.model_validate(answer.json())
        except ValueError:
            raise ProviderMisconfiguredError(
                f"The service at the URL of {self.label} in the settings does not answer like"
                f" {self.label}."
            ) from None

    def _verdicts(self, answer: Answer, sent: int) -> list[Verdict]:
        """Parse and check a response; return the verdicts."""
        reply = self.parse(answer, wire.NsfwReply)
        cost = reply.cost if reply.cost is not None and 0 <= reply.cost <= COST_MAX else None
        currency = self._redact(reply.currency or "USD")[:10]
        problem = _find_problem(reply, sent)
        if problem:
            raise InvalidAnswerError(
                f"{self.label} answered {problem}.", cost=cost, currency=currency
            )
        shares = split_cost(cost, sent)
        return [
            Verdict(
                flagged=flagged,
                position=position,
                sent=sent,
                cost=shares[position],
                currency=currency,
                request_id=self._redact(reply.requestId or "")[:100],
                model=self._redact(reply.model)[:80],
            )
            for position, flagged in enumerate(reply.has_nsfw_concepts)
        ]

    def _raise_for_status(self, answer: Answer, call: Call) -> None:
        """Raise for error responses, with nano-gpt's special statuses."""
        try:
            super()._raise_for_status(answer, call)
        except ProviderMisconfiguredError:
            raise
        except ProviderRejectedError as error:
            if answer.status == 413:
                raise TooLargeError(str(error), reason=error.reason) from None
            if answer.status == 400 and wire.is_policy_violation(
                self._error_reply(answer).message, error.reason
            ):
                raise PolicyViolationError(str(error), reason=error.reason) from None
            raise

    def _error_reply(self, answer: Answer) -> ErrorReply:
        """Convert nano-gpt's error formats to the common one."""
        try:
            message, code = wire.read_error(answer.json())
        except ValueError:
            return ErrorReply()
        return ErrorReply(reason=self._redact(code)[:80], message=message)


def split_cost(cost: Decimal | None, parts: int) -> list[Decimal | None]:
    """Split a cost into equal parts of a millionth each; the first part gets the remainder."""
    if cost is None:
        return [None] * parts
    whole = cost.quantize(_CENTS)
    share = (whole / parts).quantize(_CENTS, rounding="ROUND_DOWN")
    return [whole - share * (parts - 1), *[share] * (parts - 1)]


def split_images(images: Sequence[Image]) -> Iterator[range]:
    """Split images into ranges that fit one call, by number and bytes.

    An oversized image gets a range of its own.
    """
    start, filled = 0, 0
    for index, (content, media_type) in enumerate(images):
        size = wire.data_url_length(len(content), media_type)
        if index > start and (index - start == IMAGES_MAX or filled + size > BYTES_MAX):
            yield range(start, index)
            start, filled = index, 0
        filled += size
    if start < len(images):
        yield range(start, len(images))


def _find_problem(reply: wire.NsfwReply, sent: int) -> str:
    """Return the reason why a response is not plausible; "" if it is."""
    got = len(reply.has_nsfw_concepts)
    if reply.truncated:
        return f"that it did not classify every image of {sent}"
    if got != sent or reply.inputCount not in (None, sent):
        processed = got if reply.inputCount is None else reply.inputCount
        return f"with {got} verdicts on {processed} images, although {sent} were sent"
    if reply.is_nsfw is not None and reply.is_nsfw != any(reply.has_nsfw_concepts):
        return "in a way that contradicts itself"
    return ""

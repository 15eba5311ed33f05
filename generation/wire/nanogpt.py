"""nano-gpt's NSFW image classification on the wire: request, reply, error. For our client, the
sandbox and the gateway.

Pages, read November 2026: https://docs.nano-gpt.com/api-reference/endpoint/nsfw-image (with
NsfwImageRequest and NsfwImageResponse of its openapi.json), .../miscellaneous/error-handling,
.../miscellaneous/rate-limits and .../endpoint/check-balance. What those pages leave open is marked
"inferred".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

MODEL = "nsfw-classifier"  # the only one
IMAGES_MAX = 10  # more are neither processed nor billed, and `truncated` says so
IMAGE_PRICE = Decimal("0.0015")  # USD per image that reached the classifier
CURRENCIES = ("USD", "XNO")  # by where the account's money lies
# In this order the images of several fields are read. Inferred: no page says what happens when more
# than one is used.
IMAGE_FIELDS = ("image_urls", "imageUrls", "imageUrl", "imageDataUrl", "imageDataUrls")
POLICY_CODE = "content_policy_violation"

_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]{1,40});base64,", re.IGNORECASE)
# The page promises "a safety error message" and not its words, so any of these makes a 400 one.
# Inferred.
_POLICY_WORDS = re.compile(
    r"polic(y|ies)|safety|prohibited|violat|moderation|disallowed content", re.IGNORECASE
)

OneOrMany = str | list[str]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        """JSON without what is absent."""
        return self.model_dump(mode="json", exclude_none=True)


class NsfwRequest(_Wire):
    """Images as addresses or data URLs, each field a string or a list. The page is stricter for the
    last three.
    """

    image_urls: OneOrMany | None = Field(
        default=None,
        description="Addresses or data URLs. At least one image in one of the five fields.",
    )
    imageUrls: OneOrMany | None = Field(default=None, description="The same.")
    imageUrl: OneOrMany | None = Field(default=None, description="The same.")
    imageDataUrl: OneOrMany | None = Field(
        default=None, description="The same. Base64 data URLs of png, jpeg, webp or gif."
    )
    imageDataUrls: OneOrMany | None = Field(default=None, description="The same.")
    model: Literal["nsfw-classifier"] | None = None

    @property
    def images(self) -> list[str]:
        """Every image given, in order and uncut; blank entries are none."""
        found: list[str] = []
        for name in IMAGE_FIELDS:
            value: OneOrMany | None = getattr(self, name)
            found += [value] if isinstance(value, str) else value or []
        return [image.strip() for image in found if image.strip()]


class NsfwReply(_Wire):
    """The 200. Strict where a guess would be a verdict: booleans only, and a list of them has to be
    there.
    """

    model: str = MODEL
    requestId: str | None = None  # "if available"
    inputCount: StrictInt | None = Field(
        default=None, description=f"Images that were judged, {IMAGES_MAX} at most."
    )
    # For the whole call; serialised as a number.
    cost: Decimal | None = Field(default=None, description="Always 0 here.")
    currency: str | None = None
    truncated: StrictBool = Field(
        default=False, description="Whether more images were sent than were judged."
    )
    has_nsfw_concepts: list[StrictBool] = Field(
        description="One verdict per image, in input order."
    )
    is_nsfw: StrictBool | None = Field(default=None, description="Whether any of them is true.")

    @field_validator("model", "requestId", "cost", "currency", mode="wrap")
    @classmethod
    def _unreadable_is_absent(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """What is only kept for the record does not cost the verdicts beside it."""
        try:
            return handler(value)
        except ValueError:
            return cls.model_fields[str(info.field_name)].get_default()

    def to_wire(self) -> dict[str, Any]:
        cost = None if self.cost is None else float(self.cost)
        return {
            name: value
            for name, value in {**super().to_wire(), "cost": cost}.items()
            if value is not None
        }

    @classmethod
    def of(
        cls, verdicts: Iterable[bool], *, request_id: str, price: Decimal, truncated: bool = False
    ) -> Self:
        """What a server answers about these images."""
        flags = list(verdicts)
        return cls(
            requestId=request_id,
            inputCount=len(flags),
            cost=price * len(flags),
            currency="USD",
            truncated=truncated,
            has_nsfw_concepts=flags,
            is_nsfw=any(flags),
        )


class ErrorDetail(_Wire):
    """The object form, as most of nano-gpt's endpoints give it."""

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None


class ErrorReply(_Wire):
    """Any error body. This endpoint's page shows ``error`` as a string; elsewhere it is an object,
    or a number.
    """

    error: str | int | ErrorDetail
    status: int | None = None
    message: str | None = None  # in the schema's own form, where ``error`` is a number
    requiredBalance: Decimal | None = None  # on some 402

    def to_wire(self) -> dict[str, Any]:
        balance = None if self.requiredBalance is None else float(self.requiredBalance)
        body = {**super().to_wire(), "requiredBalance": balance}
        return {name: value for name, value in body.items() if value is not None}


class Balance(_Wire):
    """The answer to POST /check-balance."""

    usd_balance: Decimal
    nano_balance: Decimal | None = None


def read_error(body: object) -> tuple[str, str]:
    """The message and the code of an error body in any of the known forms; empty strings for one of
    no known form.
    """
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error")
    if isinstance(error, str):
        return error, _text(body.get("code"))
    if isinstance(error, dict):
        return _text(error.get("message")), _text(error.get("code")) or _text(error.get("type"))
    return _text(body.get("message")), _text(body.get("code"))


def is_policy_violation(message: str, code: str) -> bool:
    """Whether a 400 refuses what an image shows, rather than how it was sent."""
    return code == POLICY_CODE or bool(_POLICY_WORDS.search(message))


def data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def data_url_length(size: int, media_type: str) -> int:
    """How long the data URL of ``size`` bytes is."""
    return len(f"data:{media_type};base64,") + 4 * -(-size // 3)


def from_data_url(url: str) -> bytes:
    """The bytes in a base64 data URL of an image. Raises ValueError."""
    head = _DATA_URL.match(url)
    if head is None:
        raise ValueError("It is not a base64 data URL of an image.")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except ValueError:
        raise ValueError("Its base64 is broken.") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

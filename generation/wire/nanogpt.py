"""nano-gpt's NSFW image classification: request, reply, error.

Used by the client, the sandbox and the API. Sources, read November 2026:
https://docs.nano-gpt.com/api-reference/endpoint/nsfw-image (with NsfwImageRequest and
NsfwImageResponse of its openapi.json), .../miscellaneous/error-handling,
.../miscellaneous/rate-limits and .../endpoint/check-balance. "Inferred" marks what they leave open.
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
IMAGES_MAX = 10  # more are neither processed nor billed; `truncated` is then true
IMAGE_PRICE = Decimal("0.0015")  # USD per classified image
CURRENCIES = ("USD", "XNO")  # of the balance that pays
# The order in which the images of several fields are read. Inferred: no page describes the use of
# more than one.
IMAGE_FIELDS = ("image_urls", "imageUrls", "imageUrl", "imageDataUrl", "imageDataUrls")
POLICY_CODE = "content_policy_violation"

_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]{1,40});base64,", re.IGNORECASE)
# Inferred: a 400 with one of these words is a policy violation. The page promises "a safety error
# message" without its wording.
_POLICY_WORDS = re.compile(
    r"polic(y|ies)|safety|prohibited|violat|moderation|disallowed content", re.IGNORECASE
)

OneOrMany = str | list[str]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        """Return JSON without absent values."""
        return self.model_dump(mode="json", exclude_none=True)


class NsfwRequest(_Wire):
    """Images as URLs or data URLs, each field a string or a list.

    The page is stricter for the last three fields.
    """

    image_urls: OneOrMany | None = Field(
        default=None,
        description="URLs or data URLs. At least one image in one of the five fields.",
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
        """All images in order, without blank entries."""
        found: list[str] = []
        for name in IMAGE_FIELDS:
            value: OneOrMany | None = getattr(self, name)
            found += [value] if isinstance(value, str) else value or []
        return [image.strip() for image in found if image.strip()]


class NsfwReply(_Wire):
    """The successful reply. The verdicts are strict: a list of booleans is required."""

    model: str = MODEL
    requestId: str | None = None  # "if available"
    inputCount: StrictInt | None = Field(
        default=None, description=f"Number of classified images, at most {IMAGES_MAX}."
    )
    # For the whole call; serialised as a number.
    cost: Decimal | None = Field(default=None, description="Always 0 here.")
    currency: str | None = None
    truncated: StrictBool = Field(
        default=False, description="Whether more images were sent than classified."
    )
    has_nsfw_concepts: list[StrictBool] = Field(
        description="One verdict per image, in input order."
    )
    is_nsfw: StrictBool | None = Field(default=None, description="Whether any verdict is true.")

    @field_validator("model", "requestId", "cost", "currency", mode="wrap")
    @classmethod
    def _unreadable_is_absent(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Replace an unreadable value by None, because the verdicts do not depend on it."""
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
        """Build the reply for the verdicts on some images. ``price`` is in USD per image."""
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
    """The object form of an error, used by most endpoints of nano-gpt."""

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None


class ErrorReply(_Wire):
    """An error body of any form.

    The page of this endpoint shows ``error`` as a string. Elsewhere it is an object or a number.
    """

    error: str | int | ErrorDetail
    status: int | None = None
    message: str | None = None  # where ``error`` is a number
    requiredBalance: Decimal | None = None  # on some 402

    def to_wire(self) -> dict[str, Any]:
        balance = None if self.requiredBalance is None else float(self.requiredBalance)
        body = {**super().to_wire(), "requiredBalance": balance}
        return {name: value for name, value in body.items() if value is not None}


class Balance(_Wire):
    """The reply to POST /check-balance."""

    usd_balance: Decimal
    nano_balance: Decimal | None = None


def read_error(body: object) -> tuple[str, str]:
    """Return the message and the code of an error body; empty strings for an unknown form."""
    if not isinstance(body, dict):
        return "", ""
    error = body.get("error")
    if isinstance(error, str):
        return error, _text(body.get("code"))
    if isinstance(error, dict):
        return _text(error.get("message")), _text(error.get("code")) or _text(error.get("type"))
    return _text(body.get("message")), _text(body.get("code"))


def is_policy_violation(message: str, code: str) -> bool:
    """Return whether a 400 refuses the content of an image, and not the form of the request."""
    return code == POLICY_CODE or bool(_POLICY_WORDS.search(message))


def data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def data_url_length(size: int, media_type: str) -> int:
    """Return the length of the data URL of ``size`` bytes."""
    return len(f"data:{media_type};base64,") + 4 * -(-size // 3)


def from_data_url(url: str) -> bytes:
    """Return the bytes in a base64 data URL of an image. Raises ValueError."""
    head = _DATA_URL.match(url)
    if head is None:
        raise ValueError("It is not a base64 data URL of an image.")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except ValueError:
        raise ValueError("Its base64 is broken.") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

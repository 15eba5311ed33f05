"""OpenAI's moderation of images and texts: request, reply, error.

Used by the client and the sandbox. Sources, read November 2026: the types of the published client
openai 3.57, https://platform.openai.com/docs/guides/moderation and
https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from generation.wire.nanogpt import data_url, data_url_length

MODEL = "omni-moderation-latest"
DATA_URL_MAX = 20_000_000  # characters; the page states 20 MB for an image
TEXT, IMAGE = "text", "image"
# Categories that the model applies to images. The others are returned too, with a score of 0.
IMAGE_CATEGORIES = (
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "violence",
    "violence/graphic",
)
TEXT_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "sexual/minors",
)
TOO_MANY_IMAGES = "too_many_images"

Score = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1, allow_inf_nan=False)]
Input = Annotated[str, Field(max_length=100)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        """Return JSON without absent values."""
        return self.model_dump(mode="json", exclude_none=True)


class ImageUrl(_Wire):
    url: str


class ImagePart(_Wire):
    type: Literal["image_url"] = "image_url"
    image_url: ImageUrl

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Self:
        return cls(image_url=ImageUrl(url=data_url(content, media_type)))


class TextPart(_Wire):
    type: Literal["text"] = "text"
    text: str


class ModerationRequest(_Wire):
    """A text, several texts, or parts that are judged together. At most one part is an image."""

    model: str = MODEL
    input: str | list[str] | list[Annotated[ImagePart | TextPart, Field(discriminator="type")]]


class Result(_Wire):
    """The judgement of one input, by category.

    Older models leave categories out or return null.
    """

    flagged: StrictBool  # whether any category is
    categories: Mapping[str, StrictBool | None]
    category_scores: Mapping[str, Score | None]
    category_applied_input_types: Mapping[str, Sequence[Input] | None]


class ModerationReply(_Wire):
    """The successful reply."""

    id: Annotated[str, Field(max_length=200)] = ""
    model: Annotated[str, Field(max_length=200)]
    results: list[Result]


def fits_into_call(content: bytes, media_type: str) -> bool:
    """Return whether an image is small enough for a call."""
    return data_url_length(len(content), media_type) <= DATA_URL_MAX


def read_error(body: object) -> tuple[str, str]:
    """Return the message and the code of an error body; empty strings for an unknown form."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", ""
    code = error.get("code") or error.get("type")
    message = error.get("message")
    return (
        message if isinstance(message, str) else "",
        code if isinstance(code, str) else "",
    )

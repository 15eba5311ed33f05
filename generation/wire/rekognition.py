"""Amazon Rekognition's DetectModerationLabels: request, reply, error, label names.

Used by the client and the sandbox. Sources, read November 2026: the service model of botocore
1.44.8 (rekognition/2016-06-27) and
https://docs.aws.amazon.com/rekognition/latest/dg/moderation.html for the labels of model 7.0.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

SERVICE = "rekognition"
TARGET = "RekognitionService.DetectModerationLabels"
CONTENT_TYPE = "application/x-amz-json-1.1"
BYTES_MAX = 5_242_880  # of an image, before base64
MEDIA_TYPES = ("image/jpeg", "image/png")
# Percent; labels below are left out of the reply. The service's default is 50.
CONFIDENCE_MIN = 20.0
MODEL_MAJOR = "7"

# Names of model 7.0: first level, second level, third level.
LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "Explicit": {
        "Explicit Nudity": (
            "Exposed Male Genitalia",
            "Exposed Female Genitalia",
            "Exposed Buttocks or Anus",
            "Exposed Female Nipple",
        ),
        "Explicit Sexual Activity": (),
        "Sex Toys": (),
    },
    "Non-Explicit Nudity of Intimate parts and Kissing": {
        "Non-Explicit Nudity": (
            "Bare Back",
            "Exposed Male Nipple",
            "Partially Exposed Buttocks",
            "Partially Exposed Female Breast",
            "Implied Nudity",
        ),
        "Obstructed Intimate Parts": ("Obstructed Female Nipple", "Obstructed Male Genitalia"),
        "Kissing on the Lips": (),
    },
    "Swimwear or Underwear": {
        "Female Swimwear or Underwear": (),
        "Male Swimwear or Underwear": (),
    },
    "Violence": {
        "Weapons": (),
        "Graphic Violence": (
            "Weapon Violence",
            "Physical Violence",
            "Self-Harm",
            "Blood & Gore",
            "Explosions and Blasts",
        ),
    },
    "Visually Disturbing": {
        "Death and Emaciation": ("Emaciated Bodies", "Corpses"),
        "Crashes": ("Air Crash",),
    },
    "Drugs & Tobacco": {
        "Products": ("Pills",),
        "Drugs & Tobacco Paraphernalia & Use": ("Smoking",),
    },
    "Alcohol": {"Alcohol Use": ("Drinking",), "Alcoholic Beverages": ()},
    "Rude Gestures": {"Middle Finger": ()},
    "Gambling": {},
    "Hate Symbols": {"Nazi Party": (), "White Supremacy": (), "Extremist": ()},
}

Percent = Annotated[StrictFloat | StrictInt, Field(ge=0, le=100, allow_inf_nan=False)]
ShortText = Annotated[str, Field(max_length=200)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        """Return JSON without absent values."""
        return self.model_dump(mode="json", exclude_none=True)


class Image(_Wire):
    Bytes: str  # base64


class ModerationRequest(_Wire):
    """The request; only the form with the image's bytes."""

    Image: Image
    MinConfidence: float = Field(default=50.0, ge=0, le=100)

    @classmethod
    def of(cls, content: bytes) -> Self:
        return cls(
            Image=Image(Bytes=base64.b64encode(content).decode()), MinConfidence=CONFIDENCE_MIN
        )


class ModerationLabel(_Wire):
    """A label. Labels come with all their ancestors, at the same confidence."""

    Name: Annotated[ShortText, Field(min_length=1)]
    ParentName: ShortText  # "" at the top
    Confidence: Percent
    TaxonomyLevel: Annotated[StrictInt, Field(ge=1, le=3)] | None = None  # since January 2024


class ContentType(_Wire):
    """A kind of picture, such as Illustrated."""

    Name: Annotated[ShortText, Field(min_length=1)]
    Confidence: Percent


class ModerationReply(_Wire):
    """The successful reply. Nothing in it may be missing, repeated or below the limit asked for."""

    ModerationLabels: list[ModerationLabel]
    ModerationModelVersion: Annotated[ShortText, Field(min_length=1)]
    ContentTypes: list[ContentType] = []

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        names = [(label.Name, label.ParentName) for label in self.ModerationLabels]
        if len(set(names)) < len(names):
            raise ValueError("A label occurs twice.")
        return self


def find_parents(name: str) -> tuple[str, ...]:
    """Return the ancestors of a label of model 7.0, nearest first. Raises KeyError."""
    for label, *ancestors in iter_labels():
        if label == name:
            return tuple(ancestors)
    raise KeyError(name)


def iter_labels() -> Iterator[tuple[str, ...]]:
    """Yield every label of model 7.0 with its ancestors, nearest first."""
    for first, children in LABELS.items():
        yield (first,)
        for second, grandchildren in children.items():
            yield second, first
            for third in grandchildren:
                yield third, second, first


def read_error(body: object) -> tuple[str, str]:
    """Return the message and the code of an error body; empty strings for an unknown form.

    The code may have a namespace before it and a URL after it.
    """
    if not isinstance(body, dict):
        return "", ""
    message = body.get("message", body.get("Message"))
    code = body.get("__type")
    code = code.rpartition("#")[2].partition(":")[0] if isinstance(code, str) else ""
    return (message if isinstance(message, str) else ""), code

"""An image in memory, shared by all classifiers that run on it in one turn."""

from __future__ import annotations

import functools
import hashlib
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moderation.classifiers.base import (
    Assessment,
    Classifier,
    ClassifierError,
    read_rendition,
)

if TYPE_CHECKING:
    from generation.models import Asset

FORMATS = ("JPEG", "PNG", "WEBP")  # those of renditions

Pixels = NDArray[np.uint8]  # [height, width, 3], RGB 0..255
# Left, top, right and bottom as fractions of width and height.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

# A picture whose longer side is more than this many shorter sides is also judged in squares:
# squeezed into one square, people become too thin to recognise.
_LONG = 2
_SQUARES_MAX = 6


class Picture:
    """A canonical rendition: upright, without alpha. It is read, decoded and scaled once.

    All members raise ClassifierError. An error is not kept, so the next classifier tries again. The
    arrays are shared: their users must not change them. Not for use in several threads at once.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._decoded: dict[tuple[int, int], Image.Image] = {}
        self._scaled: dict[tuple[tuple[int, int], int, Box, Image.Resampling], Pixels] = {}
        # By the version of the encoder; written by moderation.classifiers.encoders.
        self.vectors: dict[str, NDArray[np.float32]] = {}

    @classmethod
    def from_asset(cls, asset: Asset) -> Picture:
        """Return the picture of a stored image. The file is read when it is first needed."""
        return cls(lambda: read_rendition(asset))

    @classmethod
    def from_content(cls, content: bytes) -> Picture:
        return cls(lambda: content)

    @functools.cached_property
    def content(self) -> bytes:
        return self._read()

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @functools.cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the rendition in pixels."""
        return self._open().size

    def decode(self, at_least: int = 0) -> Image.Image:
        """Return the picture as RGB.

        ``at_least``: a length in pixels. A JPEG is decoded at a half, a quarter or an eighth of its
        size, as long as no side gets shorter than this. 0: at full size.
        """
        image = self._open()
        if at_least:
            image.draft("RGB", (at_least, at_least))  # changes nothing but JPEG
        if image.size not in self._decoded:
            self._decoded[image.size] = _load(image)
        return self._decoded[image.size]

    def scale(
        self,
        size: tuple[int, int],
        *,
        at_least: int = 0,
        box: Box = WHOLE,
        resampling: Image.Resampling = Image.Resampling.BILINEAR,
    ) -> Pixels:
        """Return the picture with this width and height, scaled with antialiasing.

        ``at_least`` is that of ``decode``; it must not be smaller than the sides. ``box`` is the
        part of the picture that is scaled.
        """
        key = (size, at_least, box, resampling)
        if key not in self._scaled:
            image = self.decode(at_least)
            width, height = image.size
            edges = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
            scaled = image.resize(size, resampling, box=edges)
            self._scaled[key] = np.asarray(scaled)  # read-only, because it is Pillow's memory
        return self._scaled[key]

    def fit(self, side: int, *, at_least: int = 0) -> Pixels:
        """Return the picture scaled so that its longer side has this length in pixels."""
        width, height = self.decode(at_least).size
        factor = side / max(width, height)
        return self.scale(
            (max(1, round(width * factor)), max(1, round(height * factor))), at_least=at_least
        )

    def _open(self) -> Image.Image:
        with _report_failure():
            return Image.open(io.BytesIO(self.content), formats=FORMATS)


def find_squares(size: tuple[int, int]) -> list[Box]:
    """Return squares that cover a long picture from end to end, as fractions of its sides.

    [] for other pictures.
    """
    short, long = sorted(size)
    if long <= _LONG * short:
        return []
    count = min(math.ceil(long / short), _SQUARES_MAX)
    side = max(short / long, 1 / count)
    starts = [index * (1 - side) / (count - 1) for index in range(count)]
    if size[0] == long:
        return [(start, 0.0, start + side, 1.0) for start in starts]
    return [(0.0, start, 1.0, start + side) for start in starts]


def _load(image: Image.Image) -> Image.Image:
    with _report_failure():
        return image.convert("RGB")


@contextmanager
def _report_failure() -> Iterator[None]:
    """Turn each of Pillow's many exception types into ClassifierError."""
    try:
        yield
    except ClassifierError:
        raise
    except MemoryError as error:
        raise ClassifierError(
            "There was not enough memory to decode the image.", retryable=True
        ) from error
    except Exception as error:
        raise ClassifierError(
            f"The stored image could not be decoded ({type(error).__name__})."
        ) from error


@runtime_checkable
class PictureClassifier(Classifier, Protocol):
    """A classifier in this process that needs only pixels, so it can serve API calls."""

    def assess(self, picture: Picture) -> Assessment | None:
        """Judge a canonical rendition.

        Returns None for images that the classifier never judges. Raises ClassifierError instead of
        guessing.
        """
        ...

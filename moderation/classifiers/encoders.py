"""Encoders turn an image into a vector; similar images have similar vectors.

Registry: ``settings.ENCODER_BACKENDS`` maps slugs to classes, and ``settings.ENCODER`` names the
one in use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from django.conf import settings
from django.utils.module_loading import import_string
from numpy.typing import NDArray

from moderation.classifiers.base import ClassifierError
from moderation.classifiers.picture import Picture

Vector = NDArray[np.float32]
STORED: Final = np.dtype("<f2")  # half the bytes; cosines change by less than 0.001


class Encoder(Protocol):
    """The interface of all encoders."""

    slug: str

    @property
    def version(self) -> str:
        """Name, 12 digits of the weights' SHA-256, and the version of the preprocessing.

        Vectors of different versions are not comparable.
        """
        ...

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        ...

    def encode(self, picture: Picture) -> Vector:
        """Return the vector of an image, of any length but 0. Raises ClassifierError."""
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder whose vectors of images can be compared with those of texts."""

    def encode_text(self, text: str) -> Vector:
        """Return the vector of a text, of length 1. Raises ClassifierError."""
        ...


@lru_cache
def get(slug: str) -> Encoder:
    """Return an encoder. Raises LookupError for an unknown slug."""
    try:
        path = settings.ENCODER_BACKENDS[slug]
    except KeyError:
        raise LookupError(f"There is no encoder called {slug}.") from None
    encoder: Encoder = import_string(path)()
    return encoder


def get_active() -> Encoder | None:
    """Return the encoder in use, or None."""
    return get(settings.ENCODER) if settings.ENCODER else None


def encode(encoder: Encoder, picture: Picture) -> Vector:
    """Return the vector of an image, scaled to length 1; computed once for each picture.

    Raises ClassifierError.
    """
    version = encoder.version
    if version not in picture.vectors:
        picture.vectors[version] = compute(encoder, lambda: encoder.encode(picture))
    return picture.vectors[version]


def compute(encoder: Encoder, run: Callable[[], Vector]) -> Vector:
    """Return the vector that ``run`` makes, scaled to length 1. Raises ClassifierError."""
    try:
        vector = np.asarray(run(), dtype=np.float32)
    except ClassifierError:
        raise
    except MemoryError as error:
        raise ClassifierError(
            "There was not enough memory to embed the image.", retryable=True
        ) from error
    # ONNX Runtime raises many exception types.
    except Exception as error:
        raise ClassifierError(f"{encoder.slug} failed ({type(error).__name__}).") from error
    length = float(np.linalg.norm(vector))
    if vector.shape != (encoder.dim,) or not np.isfinite(length) or length == 0:
        raise ClassifierError(f"{encoder.slug} returned an invalid vector.")
    return vector / np.float32(length)


def pack(vector: Vector) -> bytes:
    """Return a vector as it is stored."""
    return vector.astype(STORED).tobytes()


def unpack(stored: Any) -> Vector:
    """Return a stored vector."""
    return np.frombuffer(bytes(stored), STORED).astype(np.float32)

"""The two networks of an image-text model: from pixels, and from tokens, to vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from moderation.classifiers.base import ClassifierError
from moderation.classifiers.picture import Pixels
from moderation.classifiers.vision import layout
from moderation.classifiers.vision.layout import Preprocessing, VisionModelError
from moderation.classifiers.vision.tokenizer import Tokenizer

DIM_MIN, DIM_MAX = 2, 4096
LENGTH_MAX = 512  # tokens
LENGTH: Final = 77  # of CLIP; for towers that accept any length
_INTEGERS: Final = {"tensor(int32)": "int32", "tensor(int64)": "int64"}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """Input of a tower: its name, and the type and length of a text."""

    name: str
    dtype: str
    length: int = 0


def check_visual(session: Any, side: int) -> Shape:
    """Check that a network takes pixels of this side. Raises VisionModelError."""
    given = _get_only_input(session, layout.VISUAL)
    if given.type != "tensor(float)":
        raise VisionModelError(
            f"{layout.VISUAL} takes {given.type}. Loupe runs models with 32-bit floats."
        )
    if len(given.shape) != 4 or not _fits(given.shape, (1, 3, side, side)):
        raise VisionModelError(
            f"{layout.VISUAL} takes {given.shape} instead of [1, 3, {side}, {side}], the size in"
            " preprocess_cfg.json."
        )
    return Shape(given.name, "float32")


def check_textual(session: Any) -> Shape:
    """Check that a network takes tokens. Raises VisionModelError."""
    given = _get_only_input(session, layout.TEXTUAL)
    if given.type not in _INTEGERS:
        raise VisionModelError(f"{layout.TEXTUAL} takes {given.type} instead of whole numbers.")
    shape = given.shape
    if len(shape) != 2 or not _fits(shape[:1], (1,)):
        raise VisionModelError(f"{layout.TEXTUAL} takes {shape} instead of [1, length].")
    length = shape[1] if isinstance(shape[1], int) else LENGTH
    if not 3 <= length <= LENGTH_MAX:
        raise VisionModelError(f"{layout.TEXTUAL} takes texts of {length} tokens.")
    return Shape(given.name, _INTEGERS[given.type], length)


def _get_only_input(session: Any, name: str) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(entry.name for entry in inputs)
        raise VisionModelError(f"{name} must have one input; it has {len(inputs)}: {names}.")
    return inputs[0]


def _fits(shape: list[Any], wanted: tuple[int, ...]) -> bool:
    """Return whether a shape allows these lengths; a name or None allows any."""
    return all(
        not isinstance(length, int) or length == right
        for length, right in zip(shape, wanted, strict=True)
    )


def run(session: Any, name: str, given: NDArray[Any]) -> Floats:
    """Run a tower once; return its vector. Raises ClassifierError for an unusable output."""
    output = np.asarray(session.run(None, {name: given})[0])
    if output.ndim != 2 or output.shape[0] != 1 or not DIM_MIN <= output.shape[1] <= DIM_MAX:
        raise ClassifierError(f"The model returned a result of the shape {list(output.shape)}.")
    vector: Floats = output[0].astype(np.float32)
    return vector


def prepare(pixels: Pixels, preprocessing: Preprocessing) -> Floats:
    """Return the input of the visual tower: [1, 3, side, side], RGB."""
    mean = np.array(preprocessing.mean, np.float32)
    std = np.array(preprocessing.std, np.float32)
    scaled = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def encode_texts(session: Any, tokenizer: Tokenizer, shape: Shape, texts: list[str]) -> Floats:
    """Return [texts, dim]: vectors of length 1. Raises ClassifierError.

    One text a run, because published towers have a fixed batch of one.
    """
    vectors = np.stack([run(session, shape.name, tokenizer.encode(text)) for text in texts])
    return normalise(vectors)


def normalise(vectors: Floats) -> Floats:
    """Scale each row to length 1. Raises ClassifierError for a row that has none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or lengths.min() == 0:
        raise ClassifierError("The model returned a vector without a direction.")
    result: Floats = vectors / lengths
    return result


@contextmanager
def report_failure(name: str) -> Iterator[None]:
    """Turn the many exceptions of ONNX Runtime into ClassifierError."""
    try:
        yield
    except ClassifierError:
        raise
    except MemoryError as error:
        raise ClassifierError(f"There was not enough memory for {name}.", retryable=True) from error
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise ClassifierError(f"{name} failed ({type(error).__name__}): {first}") from error


def load_tokenizer(files: Mapping[str, Path], shape: Shape) -> Tokenizer:
    return Tokenizer(files, length=shape.length, dtype=shape.dtype)

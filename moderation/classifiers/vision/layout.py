"""The folder of an image-text model, in Immich's layout: two towers, a tokenizer, preprocessing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from moderation.classifiers.base import ClassifierError

VISUAL: Final = "visual/model.onnx"
TEXTUAL: Final = "textual/model.onnx"
TOKENIZER: Final = "textual/tokenizer.json"
# The parts of CLIP's tokenizer, which stand in for tokenizer.json.
VOCABULARY: Final = "textual/vocab.json"
MERGES: Final = "textual/merges.txt"
TOKENIZER_CONFIG: Final = "textual/tokenizer_config.json"  # optional
PREPROCESSING: Final = "visual/preprocess_cfg.json"
FILES: Final = (VISUAL, TEXTUAL, TOKENIZER, VOCABULARY, MERGES, TOKENIZER_CONFIG, PREPROCESSING)
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

SIDE_MIN, SIDE_MAX = 32, 1024  # pixels
_RESAMPLING: Final = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}


class VisionModelError(ClassifierError):
    """A model that cannot be used. ``str(error)`` is a message for people."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Pixel format of the visual tower: OpenCLIP's ``PreprocessCfg``."""

    side: int  # pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resampling: Image.Resampling


def find_files(folder: Path) -> dict[str, Path]:
    """Return the files of a model by their names in the layout. Raises VisionModelError."""
    if not folder.is_dir():
        raise VisionModelError(f"{folder} is not a folder.")
    found = {name: folder / name for name in FILES if (folder / name).is_file()}
    if PREPROCESSING not in found and (folder / "preprocess_cfg.json").is_file():
        found[PREPROCESSING] = folder / "preprocess_cfg.json"
    if TOKENIZER in found:
        found.pop(VOCABULARY, None)
        found.pop(MERGES, None)
    if missing := list_missing(found):
        raise VisionModelError(
            f"{folder} lacks {' and '.join(missing)}. A model has the files {VISUAL}, {TEXTUAL},"
            f" {TOKENIZER} and {PREPROCESSING}."
        )
    return found


def list_missing(names: Iterable[str]) -> list[str]:
    """Return the files that a model with these files lacks."""
    there = set(names)
    missing = [name for name in (VISUAL, TEXTUAL, PREPROCESSING) if name not in there]
    if TOKENIZER not in there and not {VOCABULARY, MERGES} <= there:
        missing.append(TOKENIZER)
    return missing


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises VisionModelError."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise VisionModelError(f"{path.name} cannot be read ({type(error).__name__}).") from None
    if not isinstance(content, dict):
        raise VisionModelError(f"{path.name} is not a JSON object.")
    return content


def read_preprocessing(path: Path) -> Preprocessing:
    """Read the preprocessing of a model. Raises VisionModelError."""
    content = read_json(path)
    side = _read_side(content, path)
    if content.get("mode", "RGB") != "RGB":
        raise VisionModelError(f"{path.name}: mode must be RGB.")
    name = content.get("interpolation", "bicubic")
    if name not in _RESAMPLING:
        raise VisionModelError(f"{path.name}: interpolation must be bicubic or bilinear.")
    mean, std = (_read_channels(content, key, path) for key in ("mean", "std"))
    if min(std) <= 0:
        raise VisionModelError(f"{path.name}: std must be above 0.")
    return Preprocessing(side, mean, std, _RESAMPLING[name])


def _read_side(content: dict[str, Any], path: Path) -> int:
    size = content.get("size")
    side, *others = size if isinstance(size, list) and size else [size]
    is_square = all(other == side for other in others)
    if type(side) is not int or not SIDE_MIN <= side <= SIDE_MAX or not is_square:
        raise VisionModelError(
            f"{path.name}: size must be one number of pixels, or the same number twice, from"
            f" {SIDE_MIN} to {SIDE_MAX}."
        )
    return side


def _read_channels(content: dict[str, Any], key: str, path: Path) -> tuple[float, float, float]:
    values = content.get(key)
    # -10 to 10 excludes statistics of pixels from 0 to 255, and NaN.
    if (
        not isinstance(values, list)
        or len(values) != 3
        or not all(type(value) in (int, float) and -10 < value < 10 for value in values)
    ):
        raise VisionModelError(f"{path.name}: {key} must be three numbers, for pixels from 0 to 1.")
    red, green, blue = (float(value) for value in values)
    return red, green, blue

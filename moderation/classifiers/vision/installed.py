"""Installed image-text models: ``DATA_DIR/models/NAME`` with its files and a ``model.json``."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import logging
import os
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.conf import settings

from moderation.classifiers.base import ClassifierError
from moderation.classifiers.onnx_model import CheckedFile, keep_session, make_session
from moderation.classifiers.picture import WHOLE, Box, Picture
from moderation.classifiers.vision import layout, towers
from moderation.classifiers.vision.known_models import KNOWN_MODELS, Calibration
from moderation.classifiers.vision.layout import VisionModelError
from moderation.classifiers.vision.prompts import PromptSet
from moderation.classifiers.vision.towers import Floats

log = logging.getLogger("loupe.vision")
RECORD: Final = "model.json"
# Increment whenever the input of the visual tower changes: vectors of different versions are not
# comparable.
INPUT_RULES: Final = 1
RETRY_AFTER = timedelta(seconds=30)
WORDS_MAX = 256  # vectors of searched words that a process keeps
_DECODED: Final = 512  # pixels; as for the other local classifiers, so that they share the decoding


@dataclass(frozen=True, slots=True)
class InstalledFile:
    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model with what was recorded when it was installed."""

    folder: Path
    files: tuple[InstalledFile, ...]
    dim: int
    licence: str
    accepted_by: str
    accepted_at: str  # ISO 8601, UTC
    known: str  # its name in known_models; "" if its files are not known

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def digest(self) -> str:
        """SHA-256 over the names and SHA-256 of all files."""
        lines = sorted(f"{file.name} {file.sha256}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def calibration(self) -> Calibration:
        known = KNOWN_MODELS.get(self.known)
        return known.calibration if known else Calibration()

    def get_file(self, name: str) -> CheckedFile:
        sums = {file.name: file.sha256 for file in self.files}
        return CheckedFile(f"{name} of the model {self.name}", self.folder / name, sums[name])

    def check_files(self) -> dict[str, Path]:
        """Return the paths of all files but the networks. Raises ClassifierError if one changed."""
        names = {file.name for file in self.files} - {layout.VISUAL, layout.TEXTUAL}
        return {name: Path(self.get_file(name).build()) for name in names}

    def encode_picture(self, picture: Picture, box: Box = WHOLE) -> Floats:
        """Return the vector of a part of a picture, of any length.

        The part is squeezed into a square, and not cut to its middle as in the models' training: a
        person at the edge of a portrait must be seen. Raises ClassifierError.
        """
        with towers.report_failure(f"The model {self.name}"):
            preprocessing = _read_preprocessing(self.get_file(layout.PREPROCESSING))
            side = preprocessing.side
            pixels = picture.scale(
                (side, side),
                at_least=max(side, _DECODED),
                box=box,
                resampling=preprocessing.resampling,
            )
            session = keep_session(self.get_file(layout.VISUAL))
            shape = towers.check_visual(session, side)
            return towers.run(session, shape.name, towers.prepare(pixels, preprocessing))

    def encode_texts(self, texts: list[str]) -> Floats:
        """Return [texts, dim]: vectors of length 1. Raises ClassifierError.

        The text tower is loaded for this call only, because it needs hundreds of megabytes.
        """
        with towers.report_failure(f"The text part of the model {self.name}"):
            session = make_session(self.get_file(layout.TEXTUAL))
            shape = towers.check_textual(session)
            tokenizer = towers.load_tokenizer(self.check_files(), shape)
            return towers.encode_texts(session, tokenizer, shape, texts)

    def encode_words(self, text: str) -> Floats:
        """Return the vector of words that a person searches for. Raises ClassifierError."""
        with _searching:  # the text tower of one search at a time, for its memory
            return _encode_words(self, text)

    def encode_prompts(self, prompts: PromptSet) -> Floats:
        """Return [subjects, dim]: the mean vector of each subject over the templates, length 1.

        Computed once for each set of prompts, then read from ``texts-….npz`` beside the model.
        Raises ClassifierError.
        """
        return _encode_prompts(self, prompts)


_searching = threading.Lock()


@functools.lru_cache(maxsize=WORDS_MAX)
def _encode_words(model: InstalledModel, text: str) -> Floats:
    vector: Floats = model.encode_texts([text])[0]
    return vector


def get_folder() -> Path:
    return Path(settings.DATA_DIR) / "models"


def get_chosen() -> InstalledModel:
    """Return the model that VISION_MODEL names. Raises VisionModelError."""
    if not settings.VISION_MODEL:
        raise VisionModelError("No image-text model is installed. Run manage.py model fetch.")
    return get(settings.VISION_MODEL)


def get(name: str) -> InstalledModel:
    """Return an installed model. Raises VisionModelError."""
    folder = get_folder() / name
    try:
        changed = (folder / RECORD).stat().st_mtime_ns
    except OSError:
        raise VisionModelError(f"There is no installed model called {name}.") from None
    return _read(folder, changed)


def list_names() -> list[str]:
    return sorted(
        path.parent.name
        for path in get_folder().glob(f"*/{RECORD}")
        if layout.NAME.fullmatch(path.parent.name)
    )


@functools.lru_cache(maxsize=16)
def _read(folder: Path, changed: int) -> InstalledModel:
    """Read a record. ``changed``, the time of its last change, is a cache key."""
    content = layout.read_json(folder / RECORD)
    try:
        files = tuple(InstalledFile(**entry) for entry in content.pop("files"))
        # Written by a person or a newer version: a name outside the layout is never opened.
        if not {file.name for file in files} <= set(layout.FILES):
            raise ValueError
        if missing := layout.list_missing(file.name for file in files):
            raise VisionModelError(f"The record of the model {folder.name} lacks {missing[0]}.")
        return InstalledModel(folder=folder, files=files, **content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise VisionModelError(
            f"The record of the model {folder.name} ({RECORD}) is damaged. Remove the model and add"
            " it again."
        ) from None


def write_record(model: InstalledModel) -> None:
    content: dict[str, Any] = asdict(model)
    del content["folder"]
    (model.folder / RECORD).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


@functools.lru_cache(maxsize=4)
def _read_preprocessing(file: CheckedFile) -> layout.Preprocessing:
    return layout.read_preprocessing(Path(file.build()))


@functools.lru_cache(maxsize=4)
def _encode_prompts(model: InstalledModel, prompts: PromptSet) -> Floats:
    path = model.folder / f"texts-{prompts.version[:12]}.npz"
    shape = (len(prompts.subjects), model.dim)
    vectors = _load_vectors(path, shape, model.digest)
    if vectors is not None:
        return vectors
    with _compute_alone(path.with_suffix(".lock")):
        vectors = _load_vectors(path, shape, model.digest)  # by the process before
        if vectors is None:
            vectors = _compute_vectors(model, prompts)
            _save_vectors(path, vectors, model.digest)
        return vectors


def _compute_vectors(model: InstalledModel, prompts: PromptSet) -> Floats:
    texts = [
        template.format(subject) for subject in prompts.subjects for template in prompts.templates
    ]
    each = model.encode_texts(texts)
    means = each.reshape(len(prompts.subjects), len(prompts.templates), -1).mean(axis=1)
    return towers.normalise(means)


@contextmanager
def _compute_alone(path: Path) -> Iterator[None]:
    """Let one process of a host compute, which takes a minute and hundreds of megabytes.

    Raises ClassifierError in the others, with the delay after which they try again.
    """
    try:
        file = path.open("w")
    except OSError:  # a folder that cannot be written: each process computes its own
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClassifierError(
                "Another process is computing the vectors of the prompts.", retry_after=RETRY_AFTER
            ) from None
        yield


def _load_vectors(path: Path, shape: tuple[int, int], digest: str) -> Floats | None:
    """Return stored vectors of this model, or None."""
    try:
        # NumPy leaves a file open that it opened itself and could not read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            vectors, of = stored["vectors"], str(stored["model"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if vectors.shape != shape or of != digest or not np.isfinite(vectors).all():
        return None
    result: Floats = vectors.astype(np.float32)
    return result


def _save_vectors(path: Path, vectors: Floats, digest: str) -> None:
    """Store vectors for other processes. Without room for them, each computes its own."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            np.savez(file, vectors=vectors, model=np.array(digest))
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        log.warning("the vectors of the prompts were not stored: %s", error)

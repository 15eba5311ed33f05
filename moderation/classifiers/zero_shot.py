"""Zero-shot logits of stored embeddings: what heads start from.

An image-text model compares an embedding with the words of a category. Other encoders know no
words, so heads on them start from nothing.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from moderation import taxonomy
from moderation.classifiers import encoders
from moderation.classifiers.vision import installed
from moderation.classifiers.vision import prompts as words
from moderation.classifiers.vision.encoder import VisionEncoder

Logits = NDArray[np.float32]


class ZeroShotChangedError(Exception):
    """The encoder, its model or its prompts are not those that were asked for."""


class ZeroShot(Protocol):
    @property
    def version(self) -> str:
        """The model and the prompts; empty without words."""
        ...

    def compute(self, vectors: NDArray[np.float32], category: str) -> Logits:
        """Return [n] logits of a category from [n, dim] embeddings. Raises ClassifierError."""
        ...


class _WithoutWords:
    version: Final = ""

    def compute(self, vectors: NDArray[np.float32], category: str) -> Logits:
        return np.zeros(len(vectors), np.float32)


class _Words:
    """The scores of ``vision.classifier.score`` as logits, for many images at once."""

    @property
    def version(self) -> str:
        return f"{installed.get_chosen().digest[:12]}-{words.PROMPTS.version[:12]}"

    def compute(self, vectors: NDArray[np.float32], category: str) -> Logits:
        model, prompts = installed.get_chosen(), words.PROMPTS
        texts = model.encode_prompts(prompts)
        places = {subject: place for place, subject in enumerate(prompts.subjects)}
        children = [child.slug for child in taxonomy.list_children(category)]
        wanted = [slug for slug in (category, *children) if slug in prompts.categories]
        result = np.full(len(vectors), -np.inf, np.float32)
        for slug in wanted:
            subjects = texts[[places[subject] for subject in prompts.categories[slug]]]
            against = texts[[places[subject] for subject in prompts.list_against(slug)]]
            distance = (vectors @ subjects.T).max(axis=1) - (vectors @ against.T).max(axis=1)
            logits = (100 * distance - model.calibration.bias) / model.calibration.temperature
            result = np.maximum(result, logits.astype(np.float32))
        return result if wanted else np.zeros(len(vectors), np.float32)


def find(encoder: encoders.Encoder) -> ZeroShot:
    """Return the zero-shot logits of an encoder's embeddings. Raises VisionModelError."""
    return _Words() if isinstance(encoder, VisionEncoder) else _WithoutWords()


def get_for(encoder_version: str, zero_shot_version: str) -> ZeroShot:
    """Return the zero-shot logits of these versions. Raises ZeroShotChangedError."""
    if not zero_shot_version:
        return _WithoutWords()
    encoder = encoders.get_active()
    if encoder is not None and encoder.version == encoder_version:
        found = find(encoder)
        if found.version == zero_shot_version:
            return found
    raise ZeroShotChangedError(
        "The head was made for another image-text model, or for other prompts, than those in use."
    )

"""Zero-shot logits of stored embeddings, from which heads start."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from moderation.classifiers import encoders, zero_shot
from moderation.classifiers.picture import Picture
from moderation.classifiers.vision import prompts
from moderation.classifiers.vision.classifier import score
from moderation.classifiers.vision.encoder import VisionEncoder
from moderation.classifiers.vision.installed import InstalledModel
from moderation.classifiers.vision.prompts import PromptSet
from moderation.classifiers.zero_shot import ZeroShotChangedError
from tests.generation.imaging.pictures import encoded

COLOURS = PromptSet(
    templates=("{}", "picture {}"),
    categories={
        "gambling": ("red",),
        "violence.weapons": ("green",),
        "violence.graphic": ("white",),
    },
    look_alikes={"gambling": ("white",)},
    harmless=("blue", "black"),
)


@pytest.fixture
def words(toy: InstalledModel, monkeypatch: pytest.MonkeyPatch, settings) -> InstalledModel:
    monkeypatch.setattr(prompts, "PROMPTS", COLOURS)
    settings.ENCODER = "vision"
    return toy


@pytest.fixture
def vectors(words: InstalledModel) -> np.ndarray:
    """Return the embeddings of a red, a green, a blue and a grey picture."""
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (120, 120, 130)]
    pictures = [encoded(Image.new("RGB", (40, 40), colour), "PNG") for colour in colours]
    encoder = VisionEncoder()
    return np.stack(
        [encoders.encode(encoder, Picture.from_content(content)) for content in pictures]
    )


def test_logits_are_those_of_the_classifier(words: InstalledModel, vectors: np.ndarray) -> None:
    texts = words.encode_prompts(COLOURS)
    found = zero_shot.find(VisionEncoder())

    for slug in COLOURS.categories:
        logits = found.compute(vectors, slug)
        scores = [score(texts @ each, COLOURS, words.calibration)[slug][0] for each in vectors]
        assert [1 / (1 + math.exp(-logit)) for logit in logits] == pytest.approx(scores, abs=1e-4)
    assert np.argmax(found.compute(vectors, "gambling")) == 0


def test_l1_has_the_logit_of_its_nearest_l2(words: InstalledModel, vectors: np.ndarray) -> None:
    found = zero_shot.find(VisionEncoder())
    parts = [found.compute(vectors, slug) for slug in ("violence.weapons", "violence.graphic")]

    assert found.compute(vectors, "violence").tolist() == np.maximum(*parts).tolist()


def test_category_without_words_starts_from_nothing(
    words: InstalledModel, vectors: np.ndarray
) -> None:
    found = zero_shot.find(VisionEncoder())

    assert found.compute(vectors, "hate-symbols").tolist() == [0.0] * 4


def test_version_names_the_model_and_the_prompts(
    words: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = VisionEncoder()
    before = zero_shot.find(encoder).version
    assert zero_shot.get_for(encoder.version, before).version == before

    other = PromptSet(COLOURS.templates, COLOURS.categories, {}, ("blue", "grey"))
    monkeypatch.setattr(prompts, "PROMPTS", other)

    with pytest.raises(ZeroShotChangedError, match="other prompts"):
        zero_shot.get_for(encoder.version, before)

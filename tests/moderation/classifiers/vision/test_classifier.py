"""Zero-shot classification with the toy model, from the words to the desk."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from PIL import Image

import moderation.tasks
from generation.models import Asset
from moderation import classifiers, taxonomy
from moderation.classifiers import encoders
from moderation.classifiers.base import ClassifierError, Coverage
from moderation.classifiers.picture import Picture
from moderation.classifiers.vision import classifier, prompts
from moderation.classifiers.vision.classifier import Vision, score
from moderation.classifiers.vision.encoder import VisionEncoder
from moderation.classifiers.vision.installed import InstalledModel
from moderation.classifiers.vision.known_models import Calibration
from moderation.classifiers.vision.prompts import PROMPTS, PromptSet
from moderation.models import Embedding, Review
from tests.generation.imaging.pictures import encoded
from tests.moderation.classifiers.vision import toy as toys

MakeAsset = Callable[..., Asset]
COLOURS = PromptSet(
    templates=("{}", "picture {}"),
    categories={"gambling": ("red",), "alcohol.use": ("green", "green green")},
    look_alikes={"gambling": ("white",)},
    harmless=("blue", "black"),
)
RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


@pytest.fixture
def colours(toy: InstalledModel, settings: Any, monkeypatch: pytest.MonkeyPatch) -> InstalledModel:
    """Use the toy model as the only classifier and encoder, with words for colours."""
    monkeypatch.setattr(prompts, "PROMPTS", COLOURS)
    settings.CLASSIFIERS = ["vision"]
    settings.ENCODER = "vision"
    return toy


def from_image(image: Image.Image) -> Picture:
    return Picture.from_content(encoded(image, "PNG"))


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGB", size, colour)


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    runs: list[int] = []
    encode_picture = InstalledModel.encode_picture

    def count(self: InstalledModel, *arguments: Any) -> Any:
        runs.append(1)
        return encode_picture(self, *arguments)

    monkeypatch.setattr(InstalledModel, "encode_picture", count)
    return runs


# --- Words ---


def test_prompts_cover_every_reason_for_a_rejection() -> None:
    assert set(PROMPTS.categories) == taxonomy.list_reject_reasons()
    assert set(PROMPTS.look_alikes) == {category.slug for category in taxonomy.L1}
    assert min(map(len, PROMPTS.categories.values())) >= 4
    assert min(map(len, PROMPTS.look_alikes.values())) >= 5


def test_no_category_has_to_beat_its_own_words() -> None:
    for slug, subjects in PROMPTS.categories.items():
        assert not set(subjects) & set(PROMPTS.list_against(slug))


def test_subjects_are_canonical_and_templates_have_a_place_for_them() -> None:
    """Some tokenizers need lower case without punctuation."""
    for subject in PROMPTS.subjects:
        assert subject == " ".join(subject.lower().split())
        assert subject.replace(" ", "").isalnum()
    for template in PROMPTS.templates:
        assert template.format("x") != template


# --- Scores ---


def test_score_is_the_sigmoid_of_the_distance_to_other_words() -> None:
    similarities = dict.fromkeys(COLOURS.subjects, 0.1)
    similarities |= {"red": 0.25, "blue": 0.22, "white": 0.24, "green green": 0.2}
    values = np.array([similarities[subject] for subject in COLOURS.subjects])
    found = score(values, COLOURS, Calibration(bias=0.5, temperature=2))
    red = 1 / (1 + math.exp(-(100 * (0.25 - 0.24) - 0.5) / 2))  # white looks like it
    green = 1 / (1 + math.exp(-(100 * (0.2 - 0.22) - 0.5) / 2))  # white is no look-alike of it
    assert found["gambling"] == (pytest.approx(red), "red")
    assert found["alcohol.use"] == (pytest.approx(green), "green green")


def test_extreme_distances_do_not_overflow() -> None:
    for red, expected in ((1e6, 1.0), (-1e6, 0.0)):
        similarities = [red if subject == "red" else 0.0 for subject in COLOURS.subjects]
        assert score(np.array(similarities), COLOURS, Calibration())["gambling"][0] == expected


# --- Assessments ---


def test_red_picture_is_flagged_with_the_nearest_words(colours: InstalledModel) -> None:
    assessment = Vision().assess(from_image(plain(RED)))
    (finding,) = assessment.findings
    assert finding.category == "gambling"
    assert finding.confidence is not None
    assert 90 < finding.confidence <= Decimal(100)
    assert assessment.flagged is True
    assert assessment.covers == {category.slug: Coverage.HEURISTIC for category in taxonomy.L1}
    assert assessment.raw["nearest"] == {"gambling": "red"}
    assert assessment.raw["model_sha256"] == colours.digest
    assert assessment.raw["prompts"] == COLOURS.version
    assert float(finding.confidence) == pytest.approx(
        100 * assessment.raw["scores"]["gambling"], abs=0.01
    )


def test_blue_picture_has_no_finding(colours: InstalledModel) -> None:
    assessment = Vision().assess(from_image(plain(BLUE)))
    assert (assessment.findings, assessment.flagged) == ((), False)
    assert set(assessment.raw["scores"]) == set(COLOURS.categories)


def test_score_between_the_limits_is_a_finding_without_a_verdict(
    colours: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*arguments: Any) -> Any:
        return {"gambling": (0.7, "red"), "alcohol.use": (0.5, "green")}

    monkeypatch.setattr(classifier, "score", answer)
    assessment = Vision().assess(from_image(plain(RED)))
    assert [(found.category, found.confidence) for found in assessment.findings] == [
        ("gambling", Decimal("70.0"))
    ]
    assert assessment.flagged is None


def test_part_of_a_long_picture_is_found(colours: InstalledModel) -> None:
    """Squeezed into one square, the red part is outweighed by the blue one."""
    image = plain(BLUE, (600, 100))
    image.paste(RED, (0, 0, 100, 100))
    assessment = Vision().assess(from_image(image))
    assert [found.category for found in assessment.findings] == ["gambling"]
    assert assessment.raw["views"] == 7
    assert not Vision().assess(from_image(image.crop((100, 0, 300, 100)))).findings


def test_version_names_model_prompts_and_rules(
    colours: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Vision().version
    assert before == f"{colours.digest[:12]}-{COLOURS.version[:12]}-r{classifier.RULES}"
    monkeypatch.setattr(prompts, "PROMPTS", PROMPTS)
    assert Vision().version != before


def test_missing_model_is_an_error_and_no_clean_result(
    colours: InstalledModel, settings: Any
) -> None:
    for name in ("gone", ""):
        settings.VISION_MODEL = name
        assert Vision().version.startswith("missing-")
        with pytest.raises(ClassifierError, match="installed"):
            Vision().assess(from_image(plain(RED)))


def test_classifier_is_registered_and_its_silence_is_not_trusted() -> None:
    found = classifiers.get("vision")
    assert not found.trusted_when_silent
    assert "heuristically" in classifiers.describe_silence("vision")
    assert classifiers.get_stage("vision") is classifiers.Stage.LOCAL


# --- Encoder ---


def test_encoder_and_classifier_share_one_run(
    colours: InstalledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = count_runs(monkeypatch)
    picture = from_image(plain(RED))
    Vision().assess(picture)
    vector = encoders.encode(VisionEncoder(), picture)
    assert len(runs) == 1
    assert np.linalg.norm(vector) == pytest.approx(1)
    wanted = np.array(toys.WORDS["red"]) / np.sqrt(3)
    assert float(vector @ wanted) > 0.9


def test_encoder_is_that_of_the_model(colours: InstalledModel, settings: Any) -> None:
    encoder = VisionEncoder()
    assert (encoder.version, encoder.dim) == (f"vision-{colours.digest[:12]}-p1", 3)
    settings.VISION_MODEL = "gone"
    assert encoder.version == "vision-missing"
    with pytest.raises(ClassifierError, match="no installed model called gone"):
        encoders.encode(encoder, from_image(plain(RED)))


# --- At the desk ---


@pytest.mark.django_db
def test_red_image_reaches_the_desk_with_its_category(
    colours: InstalledModel,
    make_asset: MakeAsset,
    client_of: Callable[[User], Client],
    moderator: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = count_runs(monkeypatch)
    asset = make_asset(encoded(plain(RED, (300, 300)), "PNG"))
    moderation.tasks.classify()

    run = asset.classifications.get()
    assert (run.classifier, run.status, run.flagged) == ("vision", "done", True)
    assert run.version == Vision().version
    review = Review.objects.get(asset=asset)
    assert review.status == Review.Status.PENDING
    page = client_of(moderator).get(review.get_absolute_url()).content.decode()
    assert "Gambling" in page
    assert "Image-text model" in page
    row = Embedding.objects.get(asset=asset)
    assert row.encoder_version == VisionEncoder().version
    assert row.vector is not None
    assert len(runs) == 1


@pytest.mark.django_db
def test_damaged_model_sends_images_to_a_person(
    colours: InstalledModel, make_asset: MakeAsset
) -> None:
    (colours.folder / "model.json").unlink()
    asset = make_asset(encoded(plain(BLUE, (300, 300)), "PNG"))
    moderation.tasks.classify()
    run = asset.classifications.get()
    assert run.status == "failed"
    assert "no installed model called toy" in run.error
    assert Review.objects.get(asset=asset).status == Review.Status.PENDING

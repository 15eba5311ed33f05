"""Heads: training, the gate, the artefact and scoring."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from moderation.judgement import heads
from moderation.judgement.heads import Condition, Example, Head, Origin, Training, train_head

ORIGIN = Origin("violence", "encoder-1", "prompts-1", "decisions up to 4711")
DIM = 24
N = 240  # images of a training


@dataclasses.dataclass(frozen=True)
class World:
    """Images with a category that follows a planted direction, and a vague zero-shot score."""

    vectors: np.ndarray
    zero_shot: np.ndarray
    outcomes: np.ndarray
    direction: np.ndarray

    @classmethod
    def make(cls, n: int, *, seed: int, bias: float = -1.0, strength: float = 3.0) -> World:
        generator = np.random.default_rng(seed)
        direction = np.random.default_rng(99).normal(size=DIM)
        direction *= strength / np.linalg.norm(direction)
        vectors = generator.normal(size=(n, DIM))
        truth = vectors @ direction + bias
        zero_shot = 0.7 * truth + generator.normal(size=n) * strength
        outcomes = generator.random(n) < 1 / (1 + np.exp(-2 * truth))
        return cls(vectors.astype(np.float16), zero_shot, outcomes, direction)

    def list_examples(self, *, persons: int = 5, images: int = 2) -> list[Example]:
        """Return the examples; ``images`` of one request follow each other."""
        return [
            Example(
                id=f"{i:05}",
                vector=self.vectors[i],
                zero_shot=float(self.zero_shot[i]),
                is_positive=bool(self.outcomes[i]),
                person=f"person {i % persons}",
                request=f"request {i // images}",
            )
            for i in range(len(self.vectors))
        ]


def train(examples: list[Example], *, target: float = 0.8) -> Training:
    return train_head(examples, ORIGIN, target_precision=target)


def list_conditions(training: Training) -> list[Condition]:
    return [failure.condition for failure in training.failures]


def compute_average_precision(scores: np.ndarray, outcomes: np.ndarray) -> float:
    ranked = outcomes[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


@pytest.fixture(scope="module")
def trained() -> Training:
    return train(World.make(N, seed=1).list_examples())


@pytest.fixture(scope="module")
def head(trained: Training) -> Head:
    assert trained.head is not None
    return trained.head


def test_head_passes_the_gate_and_recovers_the_planted_direction(trained: Training) -> None:
    assert trained.failures == ()
    assert trained.is_passed
    weights, direction = trained.head.weights, World.make(1, seed=1).direction
    cosine = weights @ direction / np.linalg.norm(weights) / np.linalg.norm(direction)
    assert cosine > 0.9


def test_head_is_better_than_zero_shot_on_new_images_and_calibrated(head: Head) -> None:
    new = World.make(5000, seed=2)
    scores = head.score(new.vectors, new.zero_shot)

    assert compute_average_precision(scores, new.outcomes) > 0.9
    assert compute_average_precision(new.zero_shot, new.outcomes) < 0.85
    assert scores.mean() == pytest.approx(new.outcomes.mean(), abs=0.04)
    flagged = new.outcomes[scores >= head.figures.threshold]
    assert flagged.mean() >= head.figures.precision_lower


@pytest.mark.parametrize("bias", [-6.0, -5.0])  # about 7 and 13 positives of 240
def test_head_from_few_positives_is_not_clearly_worse_than_zero_shot(bias: float) -> None:
    new = World.make(20_000, seed=3, bias=bias)
    differences, found = [], []
    for seed in range(10, 18):
        world = World.make(N, seed=seed, bias=bias)
        result = train(world.list_examples())
        found.append(int(world.outcomes.sum()))
        if result.head is not None:
            head = compute_average_precision(
                result.head.score(new.vectors, new.zero_shot), new.outcomes
            )
            differences.append(head - compute_average_precision(new.zero_shot, new.outcomes))

    assert max(found) < 30
    assert len(differences) >= 4
    assert min(differences) > -0.05
    assert np.mean(differences) > -0.01


def test_vectors_that_say_nothing_fail_the_gate() -> None:
    world = World.make(N, seed=4)
    noise = np.random.default_rng(5).normal(size=(N, DIM)).astype(np.float16)
    # The zero-shot logits are those of the truth, so nothing can be better.
    truth = np.where(world.outcomes, 2.0, -2.0) + np.random.default_rng(6).normal(size=N)
    examples = dataclasses.replace(world, vectors=noise, zero_shot=2 * truth).list_examples()
    result = train(examples)

    new = World.make(5000, seed=7)
    scores = result.head.score(new.vectors, new.zero_shot)
    assert compute_average_precision(scores, new.outcomes) > (
        compute_average_precision(new.zero_shot, new.outcomes) - 0.02
    )
    assert Condition.LOG_LOSS in list_conditions(result)
    assert "no better than the zero-shot score alone" in result.failures[0].reason


def test_same_examples_in_any_order_give_the_same_bytes(head: Head) -> None:
    examples = World.make(N, seed=1).list_examples()

    for order in (list(reversed(examples)), [*examples[1::2], *examples[::2]]):
        assert train(order).head.to_json() == head.to_json()


def test_every_part_of_an_example_is_in_the_hash_of_the_training_set() -> None:
    examples = World.make(40, seed=1).list_examples()
    changes: list[dict[str, object]] = [
        {},
        {"is_positive": not examples[0].is_positive},
        {"zero_shot": 0.125},
        {"person": "other"},
        {"request": "other"},
        {"look": "other"},
        {"weight": 2.0},
        {"vector": np.zeros(DIM, np.float16)},
        {"id": "other"},
    ]
    hashes = {
        train([dataclasses.replace(examples[0], **change), *examples[1:]]).head.training_sha256
        for change in changes
    }

    assert len(hashes) == len(changes)


def test_figures_describe_the_training(head: Head) -> None:
    figures = head.figures

    assert figures.images == N
    assert figures.groups == N // 2
    assert sum(fold.images for fold in figures.folds) == N
    assert sum(fold.positives for fold in figures.folds) == figures.positives
    assert figures.log_loss < figures.zero_shot_log_loss < math.log(2)
    assert figures.flagged_positives <= figures.flagged
    assert figures.effective_flagged <= figures.flagged
    assert figures.largest_share == pytest.approx(0.2, abs=0.001)
    assert 0 <= figures.influence < 0.3


def test_few_positives_fail_in_plain_words() -> None:
    world = World.make(N, seed=8, bias=-5.0)
    result = train(world.list_examples())
    positives = int(world.outcomes.sum())

    assert 5 < positives < 30
    assert not result.is_passed
    assert result.failures[0].reason == f"{positives} images with the category; 30 are needed."


def test_positives_of_few_requests_fail() -> None:
    examples = World.make(N, seed=1).list_examples(images=N // 10)
    result = train(examples)

    assert Condition.GROUPS in list_conditions(result)
    assert "come from 10 groups" in result.failures[0].reason


@pytest.mark.parametrize("is_positive", [True, False])
def test_one_kind_of_verdict_cannot_be_trained(is_positive: bool) -> None:
    examples = [
        dataclasses.replace(example, is_positive=is_positive)
        for example in World.make(100, seed=1).list_examples()
    ]
    result = train(examples)

    assert result.head is None
    assert not result.is_passed
    assert "training needs 5 of each" in result.failures[-1].reason


def test_no_examples_cannot_be_trained() -> None:
    result = train([])

    assert result.head is None
    assert list_conditions(result) == [
        Condition.POSITIVES,
        Condition.GROUPS,
        Condition.TRAINABLE,
    ]


def test_high_target_that_is_not_shown_fails() -> None:
    result = train(World.make(N, seed=1).list_examples(), target=0.97)

    assert list_conditions(result) == [Condition.PRECISION]
    assert "97% is the aim" in result.failures[0].reason


def test_target_that_no_image_reaches_fails() -> None:
    generator = np.random.default_rng(9)
    world = World.make(N, seed=9)
    outcomes = generator.random(N) < 0.3  # nothing explains them
    result = train(dataclasses.replace(world, outcomes=outcomes).list_examples(), target=0.95)

    assert "nothing would be flagged" in result.failures[-1].reason


def test_near_duplicates_are_worth_one_image_to_the_gate() -> None:
    """The same evidence, seen six times, shows no more than once."""
    world = World.make(40, seed=1)
    once = world.list_examples(images=1)
    copies = [
        dataclasses.replace(example, id=f"{example.id}-{copy}", look=example.id, request="")
        for example in once
        for copy in range(6)
    ]
    few, many = train(once).head.figures, train(copies).head.figures

    assert many.flagged > 3 * few.flagged
    assert many.effective_flagged <= few.images
    assert many.positive_groups == few.positive_groups


def test_false_alarms_that_stand_for_many_images_lower_the_precision() -> None:
    world = World.make(N, seed=1, strength=2.0, bias=0.0)
    examples = world.list_examples()
    truth = np.where(world.outcomes, -np.inf, world.vectors @ world.direction)
    for i in np.argsort(-truth)[:5]:  # the negatives that look most like positives
        examples[i] = dataclasses.replace(examples[i], weight=50.0)
    plain = train(world.list_examples(), target=0.6).head.figures
    weighted = train(examples, target=0.6).head.figures

    assert plain.flagged > 50
    assert weighted.precision_lower < plain.precision_lower - 0.2
    assert weighted.effective_flagged < plain.effective_flagged / 2


def test_person_with_most_verdicts_is_held_to_half_of_the_weight() -> None:
    examples = [
        dataclasses.replace(example, person="busy" if i % 10 else f"person {i % 3}")
        for i, example in enumerate(World.make(N, seed=1).list_examples())
    ]

    assert train(examples).head.figures.largest_share == pytest.approx(0.5)


def test_wrong_verdicts_of_one_person_show_as_influence(head: Head) -> None:
    examples = [
        dataclasses.replace(example, is_positive=not example.is_positive)
        if example.person == "person 0"
        else example
        for example in World.make(N, seed=1).list_examples()
    ]
    spoilt = train(examples).head

    assert spoilt.figures.influence > head.figures.influence
    new = World.make(5000, seed=2)
    scores = spoilt.score(new.vectors, new.zero_shot)
    zero_shot = compute_average_precision(new.zero_shot, new.outcomes)
    assert compute_average_precision(scores, new.outcomes) > zero_shot


def test_team_of_one_depends_on_that_person() -> None:
    figures = train(World.make(N, seed=1).list_examples(persons=1)).head.figures

    assert (figures.largest_share, figures.influence) == (1.0, 1.0)


def test_certain_zero_shot_error_is_limited() -> None:
    examples = World.make(N, seed=1).list_examples()
    examples[0] = dataclasses.replace(examples[0], zero_shot=1e6, is_positive=False)

    assert train(examples).is_passed


def test_json_round_trip_keeps_the_head(head: Head) -> None:
    again = Head.from_json(head.to_json())

    assert again.to_json() == head.to_json()
    assert again.sha256 == head.sha256
    assert again.origin == ORIGIN
    assert again.figures == head.figures
    new = World.make(100, seed=2)
    assert np.array_equal(
        again.score(new.vectors, new.zero_shot), head.score(new.vectors, new.zero_shot)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"weights": "?"},
        {"weights": ""},
        {"weights": "AADAfw=="},  # not a number
        {"weights": "AAA="},
        {"weights": None},
        {"platt": {"slope": 1.0}},
        {"platt": {"slope": "steep", "offset": 0.0}},
        {"figures": []},
        {"figures": {"folds": 1}},
        {"factor": "much"},
        {"bias": None},
    ],
)
def test_damaged_json_raises(head: Head, change: dict[str, object]) -> None:
    content = {**json.loads(head.to_json()), **change}

    with pytest.raises(ValueError, match=r".+"):
        Head.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000])
def test_other_text_is_no_head(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Head.from_json(text)


def test_scores_in_blocks_from_a_file_are_those_of_one_array(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = World.make(1000, seed=2)
    path = tmp_path / "vectors"
    path.write_bytes(new.vectors.tobytes())
    mapped = np.memmap(path, dtype="<f2", mode="r", shape=new.vectors.shape)
    expected = head.score(new.vectors, new.zero_shot)
    monkeypatch.setattr(heads, "_BLOCK", 64)

    assert head.score(mapped, new.zero_shot) == pytest.approx(expected, rel=1e-4)
    parts = head.score_blocks(
        (mapped[i : i + 300], new.zero_shot[i : i + 300]) for i in range(0, 1000, 300)
    )
    assert np.concatenate(list(parts)) == pytest.approx(expected, rel=1e-4)


def test_score_is_the_stated_formula(head: Head) -> None:
    new = World.make(50, seed=2)
    logits = new.vectors.astype(float) @ head.weights.astype(float)
    logits += head.factor * np.clip(new.zero_shot, -8, 8) + head.bias
    expected = 1 / (1 + np.exp(-(head.platt.slope * logits + head.platt.offset)))

    assert head.score(new.vectors, new.zero_shot) == pytest.approx(expected, abs=1e-5)


def test_vectors_of_another_encoder_raise(head: Head) -> None:
    with pytest.raises(ValueError, match="vectors of 24 numbers"):
        head.score(np.zeros((3, 25), np.float16), np.zeros(3))
    with pytest.raises(ValueError, match="3 vectors"):
        head.score(np.zeros((3, 24), np.float16), np.zeros(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "00001"}, "twice"),
        ({"vector": np.zeros(3, np.float16)}, "different lengths"),
        ({"vector": np.full(DIM, np.nan, np.float16)}, "not finite"),
        ({"zero_shot": math.inf}, "not finite"),
        ({"weight": 0.0}, "positive number"),
    ],
)
def test_unusable_example_raises(change: dict[str, object], message: str) -> None:
    examples = World.make(100, seed=1).list_examples()
    examples[0] = dataclasses.replace(examples[0], **change)

    with pytest.raises(ValueError, match=message):
        train(examples)


def test_too_many_examples_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MAXIMUM_EXAMPLES", 99)

    with pytest.raises(ValueError, match="100 examples are too many: draw 99 at most"):
        train(World.make(100, seed=1).list_examples())


@pytest.mark.parametrize("target", [0.0, 1.0, 80.0])
def test_impossible_target_raises(target: float) -> None:
    with pytest.raises(ValueError, match="cannot be aimed at"):
        train([], target=target)

"""Heads that learn from real pictures: harmless drawings, sorted into folders by their authors."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from moderation.classifiers import encoders
from moderation.classifiers.lite0 import EfficientNetLite0
from moderation.classifiers.picture import Picture
from moderation.judgement.heads import Condition, Example, Head, Origin, Training, train_head
from tests.moderation.drawings import FLAGS, PEOPLE, find_look, list_drawings, render

POSITIVES, NEGATIVES = 50, 50
# In 20 draws of 100 drawings, flags passed the gate at this precision 20 times, people twice.
TARGET = 0.75

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def names() -> list[str]:
    return list_drawings()


@functools.cache
def embed(name: str) -> np.ndarray | None:
    """Return the vector of a drawing on white; None for one that is too large."""
    content = render(name)
    if content is None:
        return None
    return encoders.encode(EfficientNetLite0(), Picture.from_content(content))


class Folder:
    """One category: the drawings of a folder, against all others."""

    def __init__(self, names: list[str], folder: str) -> None:
        self.order = np.random.default_rng(2).permutation(names).tolist()
        self.folder = folder
        inside = self.pick(self.order, POSITIVES, is_positive=True)
        outside = self.pick(self.order, NEGATIVES, is_positive=False)
        self.labelled = [*inside, *outside]

    def pick(self, names: list[str], count: int, *, is_positive: bool) -> list[str]:
        fitting = (name for name in names if name.startswith(self.folder) == is_positive)
        chosen = (name for name in fitting if embed(name) is not None)
        return [name for name, _ in zip(chosen, range(count), strict=False)]

    def train(self) -> Training:
        """Return a head from at most 100 verdicts of four people, without a zero-shot score."""
        examples = [
            Example(
                id=name,
                vector=embed(name),
                zero_shot=0.0,
                is_positive=name.startswith(self.folder),
                person=f"person {i % 4}",
                look=find_look(name),
            )
            for i, name in enumerate(self.labelled)
        ]
        origin = Origin("drawings", EfficientNetLite0.version)
        return train_head(examples, origin, target_precision=TARGET)

    def measure_precision(self, head: Head) -> tuple[int, int]:
        """Return how many of 60 new drawings are flagged rightly, and of 60 others wrongly."""
        known = {find_look(name) for name in self.labelled}
        rest = [name for name in self.order if find_look(name) not in known]
        return tuple(
            int((self.score(head, self.pick(rest, 60, is_positive=kind)) >= TARGET).sum())
            for kind in (True, False)
        )

    def score(self, head: Head, names: list[str]) -> np.ndarray:
        return head.score(np.stack([embed(name) for name in names]), np.zeros(len(names)))


def test_easy_category_passes_the_gate_with_a_hundred_verdicts(names: list[str]) -> None:
    flags = Folder(names, FLAGS)
    result = flags.train()

    assert len(flags.labelled) <= 100
    assert result.failures == ()
    rightly, wrongly = flags.measure_precision(result.head)
    assert rightly >= 30
    assert rightly >= 6 * wrongly


def test_hard_category_fails_the_gate_with_as_many(names: list[str]) -> None:
    result = Folder(names, PEOPLE).train()

    assert not result.is_passed
    assert [failure.condition for failure in result.failures] == [Condition.PRECISION]

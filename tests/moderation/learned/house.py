"""A house whose people reject red images, at the real desk."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from PIL import Image

import moderation.tasks
from generation.models import Asset
from moderation.classifiers import encoders
from moderation.judgement.heads import Example, Origin, train_head
from moderation.models import Embedding, Head, HeadTraining, Review
from moderation.services import learning
from tests.moderation.page_helpers import decide

WEAPONS = "violence.weapons"
ClientOf = Callable[[User], Client]


def paint(seed: int, *, is_red: bool) -> bytes:
    """Return a picture of noise that is reddish or bluish."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    tint = np.array([255, 30, 30] if is_red else [30, 90, 255])
    file = io.BytesIO()
    mixed = (0.4 * noise + 0.6 * tint).astype(np.uint8)
    Image.fromarray(mixed).resize((64, 64), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


class House:
    """The desk of two people, and the worker."""

    def __init__(
        self, make_asset: Callable[..., Asset], client_of: ClientOf, *people: User
    ) -> None:
        self._make_asset, self.people = make_asset, people
        self._clients = {person.pk: client_of(person) for person in people}
        self._seed = 0

    def store(self, *, is_red: bool, seed: int = 0, **origin: Any) -> Review:
        """Store a painted image; the worker has embedded and judged it."""
        self._seed = seed or self._seed + 1
        return self.store_content(paint(self._seed, is_red=is_red), **origin)

    def store_content(self, content: bytes, **origin: Any) -> Review:
        """Store an image; the worker has embedded and judged it."""
        asset = self._make_asset(content, **origin)
        Embedding.objects.filter(due_at__isnull=False).update(due_at=asset.created_at)
        moderation.tasks.classify()
        moderation.tasks.embed()
        return Review.objects.get(asset=asset)

    def judge(self, review: Review, verdict: str, person: User | None = None, **data: Any) -> None:
        """Decide a review at the desk; people take turns."""
        person = person or self.people[review.pk % len(self.people)]
        assert review.claim_for(person)
        response = decide(self._clients[person.pk], review, verdict, **data)
        assert response.status_code < 400, response.content

    def decide_many(self, *, red: int = 32, other: int = 34) -> None:
        """Store images and decide each: red ones are rejected as weapons."""
        for _ in range(red):
            self.judge(self.store(is_red=True), "reject", categories=[WEAPONS])
        for _ in range(other):
            self.judge(self.store(is_red=False), "approve")

    def learn(self) -> None:
        """Run the worker's training as if a day had passed."""
        learning.add_trainings()
        HeadTraining.objects.update(due_at=timezone.now())
        moderation.tasks.train()


def get_head(status: str = "shadow", category: str = WEAPONS) -> Head:
    return Head.objects.get(category=category, status=status)


def make_head(status: str = "shadow", *, category: str = WEAPONS, **fields: Any) -> Head:
    """Store a head that finds red, trained on drawn colours."""
    rng = np.random.default_rng(1)
    examples = []
    for number in range(120):
        is_red = number < 40
        colour = rng.uniform(0, 0.4, 3) + ([0.6, 0.1, 0.1] if is_red else [0.1, 0.3, 0.6])
        examples.append(
            Example(
                id=f"{number:03}",
                vector=(colour / np.linalg.norm(colour)).astype(np.float32),
                zero_shot=0.0,
                is_positive=is_red,
                person=str(number % 3),
            )
        )
    origin = Origin(category=category, encoder_version=encoders.get("colour").version)
    training = train_head(examples, origin, target_precision=0.8)
    assert training.is_passed, training.failures
    assert training.head is not None
    return Head.objects.create(
        category=category,
        encoder_version=origin.encoder_version,
        status=status,
        artefact=training.head.to_json(),
        sha256=training.head.sha256,
        training_sha256=training.head.training_sha256,
        recipe={"target_precision": 0.8},
        images=training.head.figures.images,
        positives=training.head.figures.positives,
        **fields,
    )

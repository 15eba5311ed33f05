"""Helpers that store images for nano-gpt, run the job and check the reviews."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone
from PIL import Image

import moderation.tasks
from generation.models import Asset
from generation.sandbox import marker
from moderation.models import Classification, Decision, Review


def make_image(*labels: tuple[str, int], seed: int = 0) -> bytes:
    picture = Image.new("RGB", (256, 192), (40 + seed * 7 % 150, 60 + seed * 31 % 150, 120))
    picture.paste((200, seed * 5 % 255, 90), (20, 20, 60 + seed, 80))
    marker.draw_marker(picture, labels)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


NSFW = ("explicit.nudity", 90)


def store_images(
    make_asset: Callable[..., Asset], count: int, *, flagged: tuple[int, ...] = ()
) -> list[Classification]:
    assets = [make_asset(make_image(*[NSFW] * (n in flagged), seed=n)) for n in range(count)]
    return [asset.classifications.get() for asset in assets]


def run_remote_classification() -> None:
    moderation.tasks.classify_remote()


def make_classifications_due() -> None:
    due = Classification.objects.filter(due_at__isnull=False)
    due.update(due_at=timezone.now() - timedelta(seconds=1))


def is_nothing_approved() -> bool:
    return (
        not Decision.objects.exists()
        and not Review.objects.filter(status=Review.Status.APPROVED).exists()
    )


def get_pending_review(row: Classification) -> Review:
    review = Review.objects.get(asset=row.asset_id)
    assert review.status == Review.Status.PENDING
    assert review.reason.endswith(".")
    return review

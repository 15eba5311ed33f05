"""Helpers that create requests and run the jobs of the pipeline against the sandbox."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

import moderation.tasks
from generation import tasks
from generation.models import Asset, GenerationRequest, RemoteImage
from generation.services import requests
from moderation.models import Classification, Decision, Review

STEPS = (tasks.submit, tasks.reconcile, tasks.poll, tasks.fetch, moderation.tasks.classify)


def ask(user: User | None = None, **fields: Any) -> GenerationRequest:
    values = {
        "model_name": "alder_realism_v4.safetensors",
        "prompt": "a harbour at dawn",
        "negative_prompt": "",
        "width": 128,
        "height": 128,
        "image_num": 1,
        "steps": 20,
        "guidance_scale": "7.5",
        "sampler_name": "Euler a",
        "seed": 5,
        "response_image_type": "png",
        "enable_nsfw_detection": True,
        "nsfw_detection_level": 1,
    }
    request, _ = requests.create_request(
        user=user, provider="novita-sandbox", fields={**values, **fields}
    )
    return request


def make_everything_due() -> None:
    """Make every row due, as if leases and back-off delays had ended."""
    now = timezone.now() - timedelta(seconds=1)
    for model in (GenerationRequest, RemoteImage, Classification):
        model.objects.filter(due_at__isnull=False).update(due_at=now)


def run_line(rounds: int = 3) -> None:
    for _ in range(rounds):
        for step in STEPS:
            step()
        make_everything_due()


def state() -> dict[str, str]:
    rows = {str(row.uuid): row.status for row in GenerationRequest.objects.all()}
    rows |= {f"asset {asset.pk}": asset.sha256 for asset in Asset.objects.all()}
    rows |= {f"review {review.pk}": review.status for review in Review.objects.all()}
    return rows | {f"decision {decision.pk}": decision.hash for decision in Decision.objects.all()}

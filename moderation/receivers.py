"""The receiver of ``asset_stored``: every stored asset gets its review and its classifications, or is not stored."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from generation.models import Asset
from generation.signals import asset_stored
from moderation.services import intake


@receiver(asset_stored)
def open_review(*, asset: Asset, **kwargs: Any) -> None:
    intake.open_review(asset=asset)

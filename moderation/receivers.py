"""Receivers of ``asset_stored``, run in the transaction that stores the asset."""

from __future__ import annotations

from typing import Any

from generation.models import Asset
from moderation.services import classification


def open_review(*, asset: Asset, **kwargs: Any) -> None:
    classification.open_review(asset=asset)

"""What receives ``asset_stored``: every stored asset gets its review and its classifications, or is
not stored.
"""

from __future__ import annotations

from typing import Any

from generation.models import Asset
from moderation.services import classification


def open_review(*, asset: Asset, **kwargs: Any) -> None:
    classification.open_review(asset=asset)

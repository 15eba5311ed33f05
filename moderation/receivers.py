"""Receivers of ``asset_stored`` (in the storing transaction) and of ``post_migrate``."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from generation.models import Asset
from moderation.services import classification, starting_policies


def open_review(*, asset: Asset, **kwargs: Any) -> None:
    classification.open_review(asset=asset)


def apply_starting_policy(*, plan: Any = (), **kwargs: Any) -> None:
    """Put the starting policy for the configured classifiers into force, in a new database only.

    New: this run of ``migrate`` created the first policy. The sandbox has the demo's policy.
    """
    created = ("moderation", "0003_roles_and_first_policy")
    is_new = any(
        (migration.app_label, migration.name) == created and not backwards
        for migration, backwards in plan
    )
    chosen = starting_policies.suggest() if is_new and not settings.SANDBOX else None
    if chosen is not None:
        starting_policies.put_into_force(chosen, user=None)

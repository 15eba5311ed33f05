"""Removal of originals after their time (setting ORIGINALS)."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.files.storage import storages
from django.utils import timezone

from generation.core.storage import view_name
from generation.models import Asset, OriginalProblem
from moderation.models.retention import is_held


def remove_due_originals(limit: int) -> int:
    """Remove up to ``limit`` originals with their views; return their number.

    An undecided image keeps its original, except with ORIGINALS=never. A legal hold wins.
    """
    kept: timedelta | None = settings.ORIGINALS
    if kept is None:
        return 0
    due = Asset.objects.with_files().with_original().exclude(is_held())
    if kept:
        due = due.filter(review__decided_at__lt=timezone.now() - kept)
    assets = list(due.order_by("pk")[:limit])
    for asset in assets:
        _remove_original(asset)
    return len(assets)


def _remove_original(asset: Asset) -> None:
    """Delete the files, then clear the columns: after a crash, the next run starts over.

    Assets with the same content share the files. An import of that content at this moment may lose
    them; its rendition is delivered then.
    """
    sharing = Asset.objects.with_original().filter(original_sha256=asset.original_sha256)
    if not sharing.exclude(pk=asset.pk).exists():
        files = storages["assets"]
        for name in (
            str(asset.original.name),
            *(view_name(asset.original_sha256, kind) for kind in asset.views),
        ):
            files.delete(name)
    Asset.objects.filter(pk=asset.pk).update(
        original="", views=[], original_problem=OriginalProblem.REMOVED
    )

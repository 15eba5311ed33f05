"""Signals for other apps, which generation does not import (docs/adr/0005)."""

from __future__ import annotations

from django.dispatch import Signal

# Sent by generation.services.storing inside the transaction that stores the asset, so a failing
# receiver rolls it back. Arguments: asset (generation.models.Asset).
asset_stored = Signal()

# Sent by generation.views.assets before an image is sent to a person. Arguments: asset, user, and
# kind ("image" or "original"). A receiver raises TooManyViewsError to refuse it.
asset_shown = Signal()


class TooManyViewsError(Exception):
    """A view beyond a limit. ``str(error)`` is a message for the person."""

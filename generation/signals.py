"""The one message that goes upwards (docs/adr/0005)."""

from __future__ import annotations

from django.dispatch import Signal

# Sent by generation.services.storing inside the transaction that stores the asset: a receiver that
# fails undoes it. Arguments: asset (generation.models.Asset).
asset_stored = Signal()

"""The pump of moderation."""

from __future__ import annotations

from datetime import timedelta

from generation.pumps import Turn, pump
from moderation.models import Classification
from moderation.services import intake

BATCH = 4


@pump("classify", due=lambda: Classification.objects.due())
def classify(turn: Turn) -> None:
    """Run due classifications, the longest waiting first."""
    queued = Classification.objects.filter(status=Classification.Status.QUEUED)
    while not turn.expired:
        claimed = queued.claim(limit=BATCH, lease=timedelta(seconds=60), count_attempt=True)
        if not claimed:
            return
        for classification in Classification.objects.filter(pk__in=[row.pk for row in claimed]).select_related(
            "asset__request"
        ):
            turn.renew()
            intake.classify(classification=classification)

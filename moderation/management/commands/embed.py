from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.classifiers import encoders
from moderation.services import embeddings


class Command(BaseCommand):
    help = (
        "Queue the images that the encoder in use (ENCODER) has not embedded, failed ones too. The "
        "worker embeds them when no image waits for its classification. Can run repeatedly."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        encoder = encoders.get_active()
        if encoder is None:
            raise CommandError("No encoder is in use. Set ENCODER, see README.md.")
        queued = embeddings.queue_missing(encoder)
        self.stdout.write(
            f"Images queued for {encoder.version}: {queued}."
            if queued
            else f"Every image is embedded or queued for {encoder.version}."
        )

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from moderation.services import sealing


class Command(BaseCommand):
    help = (
        "Sign the record with the present RECORD_KEY from now on. All processes must know it "
        "already, and the earlier key must stay in RECORD_KEY_FALLBACKS for verifications."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            event = sealing.rotate_key()
        except (sealing.SealError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"The record is signed with the key {event.payload['key']} from now on. Keep"
            f" {event.payload['before']} in RECORD_KEY_FALLBACKS."
        )

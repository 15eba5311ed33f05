from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.services.audit_log import verify_record


class Command(BaseCommand):
    help = (
        "Read the whole record of decisions and report every altered place. The "
        "exit code is 1 if there is one. The time and result of each run are "
        "stored for auditors."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        verification, faults = verify_record()
        if faults:
            raise CommandError("\n".join(faults))
        self.stdout.write(
            f"{verification.decisions} decisions verified. Head: {verification.head or 'none yet'}"
        )

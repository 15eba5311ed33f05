from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.services import sealing
from moderation.services.verification import verify_record


class Command(BaseCommand):
    help = (
        "Sign the record with RECORD_KEY from now on. Run it once after an upgrade, when the last "
        "process of the earlier version has stopped: such a process can no longer decide then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--despite-faults",
            action="store_true",
            help="Seal a record that has faults. The seal notes their number.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _, faults = verify_record()
        faults = [fault for fault in faults if not fault.startswith("The record is not sealed")]
        if faults and not options["despite_faults"]:
            raise CommandError(
                "The record has faults. Find out what happened before you seal it"
                " (docs/auditing.md), then give --despite-faults.\n" + "\n".join(faults)
            )
        try:
            event = sealing.seal(faults=len(faults))
        except sealing.SealError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Sealed: {event.decisions} decisions, signed with the key {event.key_id} from now on."
        )

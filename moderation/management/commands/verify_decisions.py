from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.services.verification import verify_record


class Command(BaseCommand):
    help = (
        "Read the whole record of decisions and report every altered place. Compare it "
        "with all heads that were published or verified before. The exit code is 1 if "
        "there is a fault. The time and result of each run are stored for auditors."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--heads",
            type=Path,
            metavar="FILE",
            help=(
                "A file of published heads, one JSON object a line, such as a copy of "
                "HEAD_PUBLISH_FILE that is kept elsewhere."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            verification, faults = verify_record(options["heads"])
        except OSError as error:
            raise CommandError(f"{options['heads']} cannot be read: {error.strerror}.") from error
        if faults:
            raise CommandError("\n".join(faults))
        compared = (
            f" Compared with {verification.heads} earlier head{'s'[: verification.heads != 1]}."
            if verification.heads
            else ""
        )
        self.stdout.write(
            f"{verification.decisions} decisions verified. Head: {verification.head or 'none yet'}."
            f"{compared}"
        )

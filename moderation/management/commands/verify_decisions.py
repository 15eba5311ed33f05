from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.services import sealing
from moderation.services.verification import verify_record


class Command(BaseCommand):
    help = (
        "Read the whole record and report every altered place: decisions, events, states of "
        "images, triggers and files. Compare it with all heads that were published or verified "
        "before. The exit code is 1 if there is a fault. "
        "The time and result of each run are stored for auditors."
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

        parser.add_argument(
            "--files",
            action="store_true",
            help="Read every file of every image, not only those of 200 images drawn by chance.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            verification, faults = verify_record(options["heads"], reads_all_files=options["files"])
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
            f"{compared} {verification.reviews} images replayed, {verification.files} files read."
        )
        if notice := sealing.explain_state():
            self.stdout.write(self.style.WARNING(notice))

from __future__ import annotations

from django.core.management.base import CommandParser

from moderation.management.export_command import ExportCommand


class Command(ExportCommand):
    help = (
        "Write images, decided or not, with their decision in effect to standard output or to a"
        " file. --start and --end are days of the arrival; the other filters apply to the decision"
        " in effect. The file appears only when it is complete."
    )
    kind = "images"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--status",
            help="undecided, classifying, pending, escalated, approved or rejected",
        )

from __future__ import annotations

from moderation.management.export_command import ExportCommand


class Command(ExportCommand):
    help = (
        "Write decisions to standard output or to a file. The file appears only when it is"
        " complete."
    )
    kind = "decisions"

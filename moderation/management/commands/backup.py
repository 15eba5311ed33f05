from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.services.backups.create import create_backup
from moderation.services.backups.folder import BackupError


class Command(BaseCommand):
    help = (
        "Back up the database and all files that are new into a folder, while Loupe runs. Files of"
        " removed images leave the backup too. The exit code is 1 if a file is missing or altered."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder", type=Path, metavar="DEST", help="An empty folder, or one of earlier backups."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = create_backup(options["folder"].resolve())
        except BackupError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Snapshot {done.name}: {done.sequence} decisions, head {done.hash or 'none yet'}."
        )
        self.stdout.write(
            f"{done.files} files of images; {done.copied} files copied"
            f" ({done.copied_bytes / 1024 / 1024:,.1f} MiB), {done.removed} removed."
        )
        if done.faults:
            raise CommandError(
                "\n".join([*done.faults[:50], "The backup lacks these files. All else is in it."])
            )

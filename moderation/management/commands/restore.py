from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.services.backups.folder import BackupError
from moderation.services.backups.restore import restore_backup


class Command(BaseCommand):
    help = (
        "Restore a backup into an empty installation: database, files and models, without the"
        " images that were removed since. Then the whole record and all files are verified. The"
        " exit code is 1 if anything is not as it was."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, metavar="SRC", help="A folder of backups.")
        parser.add_argument("--snapshot", default="", help="Its name; by default the newest one.")
        parser.add_argument(
            "--purges",
            type=Path,
            metavar="DIR",
            help=(
                "A further folder of purge lists: PURGE_LIST, or the folder purges of the lost"
                " storage, if it survived."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = restore_backup(
                options["folder"].resolve(),
                name=options["snapshot"],
                purges=options["purges"],
                report=self.stdout.write,
            )
        except BackupError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Snapshot {done.name}: {done.decisions} decisions, {done.files} files of images."
        )
        self.stdout.write(
            f"{done.purged} images and requests were removed since, and stay removed."
        )
        if done.unknown:
            self.stdout.write(
                f"{done.unknown} requests may have been sent since the snapshot. They are unknown"
                " now: settle them at /requests/."
            )
        if done.faults:
            raise CommandError("\n".join([*done.faults[:50], f"{len(done.faults)} faults."]))
        self.stdout.write("Record and files are as they were. Start the web server and the worker.")

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.core.files.storage import storages
from django.core.management.base import BaseCommand, CommandError

from generation.core.moving import MovingStorage
from generation.services import moving, storage_checks

PROGRESS_EVERY = 10.0  # seconds


class Command(BaseCommand):
    help = (
        "Copy all image files between DATA_DIR/assets and the bucket, as S3_MOVE says, while Loupe"
        " runs. The same command continues after a stop. docs/operations.md describes the move."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        files = storages["assets"]
        if not isinstance(files, MovingStorage):
            raise CommandError(
                "S3_MOVE is not set. Set S3_MOVE=from-disk or S3_MOVE=to-disk for all processes"
                " first, so that new images go to the new place and both are read."
            )
        progress, damaged, reported = moving.Progress(), [], 0
        started = time.monotonic()
        try:
            moving.copy_identity(files)
            for names in moving.copy_files(files, progress):
                damaged += names
                if time.monotonic() - started > PROGRESS_EVERY * (reported + 1):
                    reported += 1
                    self.stdout.write(f"{progress.copied} files copied")
        except moving.DifferentStorageError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"Stopped after {progress.copied} files; the same command continues."
                f" {storage_checks.explain_error(error)}"
            ) from error
        seconds = time.monotonic() - started
        self.stdout.write(
            f"{progress.copied} files copied ({progress.bytes_copied // 1024 // 1024} MiB in"
            f" {seconds:.0f} s), {progress.present} were there already. S3_MOVE={settings.S3_MOVE}."
        )
        if damaged:
            raise CommandError("\n".join(f"Altered, not copied: {name}" for name in damaged))

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation import imaging
from generation.core.storage import StorageUnavailableError
from generation.services import storage_checks
from generation.services.storing import AlreadyStoredError, import_file

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}
BYTES_MAX = imaging.MAX_BYTES
SHOWN = 20  # refused files named in the summary
AGAIN = (
    "Then run the same command again: it resumes where it stopped, because "
    "stored files are recognised."
)


class Command(BaseCommand):
    help = (
        "Import images from files or folders. They pass the same checks and "
        "classifiers as all others."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="image files, or folders to search",
        )
        parser.add_argument("--user", help="user name of the person who imports them")

    def handle(self, *args: Any, paths: list[Path], user: str | None, **options: Any) -> None:
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise CommandError(f"There is no {', '.join(missing)}.")
        owner = self._find_owner(user)
        files = list(dict.fromkeys(file for path in paths for file in self._iter_files(path)))
        if not files:
            raise CommandError(f"No file ending in {', '.join(sorted(SUFFIXES))} was found there.")
        refused: list[tuple[Path, str]] = []
        counts: Counter[str] = Counter()
        for number, file in enumerate(files, start=1):
            try:
                outcome, reason = self._import(file, owner)
            except (StorageUnavailableError, imaging.DecoderUnavailableError) as error:
                self._print_summary(counts, refused, left_out=self._count_other_files(paths))
                left = len(files) - number + 1
                raise CommandError(
                    f"Stopped at {file}, with {left} files left. {error} {AGAIN}"
                ) from None
            counts[outcome] += 1
            if outcome == "refused":
                refused.append((file, reason))
            self._print_progress(number, len(files), counts)
        self._print_summary(counts, refused, left_out=self._count_other_files(paths))

    def _find_owner(self, name: str | None) -> int | None:
        if name is None:
            return None
        try:
            return User.objects.get(username=name).pk
        except User.DoesNotExist:
            raise CommandError(f"There is no user called {name}.") from None

    def _iter_files(self, path: Path) -> Iterator[Path]:
        """Yield a file itself, or all images below a folder in a stable order."""
        if path.is_file():
            yield path
            return
        yield from (
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in SUFFIXES and file.is_file()
        )

    def _count_other_files(self, paths: list[Path]) -> int:
        """Count files in the folders that have no image suffix."""
        inside = (
            file for path in paths if path.is_dir() for file in path.rglob("*") if file.is_file()
        )
        return sum(file.suffix.lower() not in SUFFIXES for file in inside)

    def _import(self, file: Path, owner: int | None) -> tuple[str, str]:
        try:
            # Check the size first, so that a huge file is not loaded only to be refused.
            if file.stat().st_size > BYTES_MAX:
                return "refused", f"larger than {BYTES_MAX // 1024 // 1024} MiB"
            content = file.read_bytes()
        except OSError as error:
            return "refused", error.strerror or type(error).__name__
        try:
            import_file(content=content, name=file.name, user_id=owner)
        except AlreadyStoredError as known:
            return "known", str(known)
        except StorageUnavailableError as error:
            storage_checks.record_failure(error)
            raise
        except imaging.UnreadableImageError as unreadable:
            return "refused", str(unreadable)
        return "stored", ""

    def _print_progress(self, number: int, total: int, counts: Counter[str]) -> None:
        """Redraw one line on a terminal; print a line now and then to a log."""
        is_terminal = sys.stderr.isatty()
        if not is_terminal and number % 50 and number != total:
            return
        done = number * 30 // total
        bar = f"[{'#' * done}{'.' * (30 - done)}] {number}/{total}, {counts['refused']} refused"
        self.stderr.write(
            f"\r{bar}" if is_terminal else bar,
            ending="" if is_terminal and number < total else "\n",
        )

    def _print_summary(
        self, counts: Counter[str], refused: list[tuple[Path, str]], *, left_out: int
    ) -> None:
        self.stdout.write(
            f"{counts['stored']} images stored and queued for classification,"
            f" {counts['known']} already known, {counts['refused']} refused."
        )
        if left_out:
            self.stdout.write(
                f"  {left_out} other files were skipped: their names do not end like an image's."
            )
        if counts["stored"]:
            self.stdout.write(
                "  Images that the policy in force approves automatically are not in the queue;"
                " see Decisions."
            )
        for reason, count in Counter(reason for _, reason in refused).most_common():
            self.stdout.write(f"  {count} × {reason}")
        for file, reason in refused[:SHOWN]:
            self.stdout.write(f"    {file}: {reason}")
        if len(refused) > SHOWN:
            self.stdout.write(f"    … and {len(refused) - SHOWN} more")

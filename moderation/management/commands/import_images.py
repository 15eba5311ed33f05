from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from generation import imaging
from generation.core.parent_death import die_with_parent
from generation.core.storage import StorageUnavailableError
from generation.services import storage_checks
from generation.services.storing import AlreadyStoredError, import_file

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}
BYTES_MAX = imaging.MAX_BYTES
SHOWN = 20  # refused files named in the summary
JOBS_MAX = 256
IN_WORK = 2  # files for each process that wait or are in work
KILLED = "A process was killed, perhaps because memory ran out; fewer --jobs need less."
AGAIN = (
    "Then run the same command again: it resumes where it stopped, because "
    "stored files are recognised."
)


STOPPED = "stopped"


class Outcome(NamedTuple):
    """Result for a file: stored, known, refused, or stopped by a fault of this machine."""

    file: Path
    kind: str
    reason: str = ""


def import_one(file: Path, owner: int | None) -> Outcome:
    """Import a file. Runs in processes, so errors are returned as text."""
    try:
        # Check the size first, so that a huge file is not loaded only to be refused.
        if file.stat().st_size > BYTES_MAX:
            return Outcome(file, "refused", f"larger than {BYTES_MAX // 1024 // 1024} MiB")
        content = file.read_bytes()
    except OSError as error:
        return Outcome(file, "refused", error.strerror or type(error).__name__)
    try:
        import_file(content=content, name=file.name, user_id=owner)
    except AlreadyStoredError as known:
        return Outcome(file, "known", str(known))
    except StorageUnavailableError as error:
        storage_checks.record_failure(error)
        return Outcome(file, STOPPED, str(error))
    except imaging.DecoderUnavailableError as error:
        return Outcome(file, STOPPED, str(error))
    except imaging.UnreadableImageError as unreadable:
        return Outcome(file, "refused", str(unreadable))
    return Outcome(file, "stored")


def import_in_turn(files: Sequence[Path], owner: int | None) -> Iterator[Outcome]:
    """Import files one after the other, up to the first fault of the machine."""
    for file in files:
        yield (outcome := import_one(file, owner))
        if outcome.kind == STOPPED:
            return


def import_in(jobs: int, files: Sequence[Path], owner: int | None) -> Iterator[Outcome]:
    """Import files in several processes; after a fault of the machine start no further file."""
    connections.close_all()  # a connection must not be shared by forked processes
    context = multiprocessing.get_context("fork")
    running: dict[Future[Outcome], Path] = {}
    waiting = iter(files)
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=_start_process, initargs=(os.getpid(),)
    ) as pool:
        while True:
            while len(running) < IN_WORK * jobs and (file := next(waiting, None)):
                try:
                    running[pool.submit(import_one, file, owner)] = file
                except BrokenProcessPool:
                    waiting = iter(())
                    yield Outcome(file, STOPPED, KILLED)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = _read(future, running.pop(future))
                if outcome.kind == STOPPED:
                    waiting = iter(())
                yield outcome


def _read(future: Future[Outcome], file: Path) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return Outcome(file, STOPPED, KILLED)


def _start_process(parent: int) -> None:
    die_with_parent(parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command itself stops in order


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
        parser.add_argument(
            "--jobs",
            type=int,
            default=1,
            metavar="N",
            help="import N files at the same time, each in a process of its own; useful up to the"
            " number of cores (default: 1)",
        )

    def handle(
        self, *args: Any, paths: list[Path], user: str | None, jobs: int, **options: Any
    ) -> None:
        if not 1 <= jobs <= JOBS_MAX:
            raise CommandError(f"--jobs must be from 1 to {JOBS_MAX}.")
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise CommandError(f"There is no {', '.join(missing)}.")
        owner = self._find_owner(user)
        files = list(dict.fromkeys(file for path in paths for file in self._iter_files(path)))
        if not files:
            raise CommandError(f"No file ending in {', '.join(sorted(SUFFIXES))} was found there.")
        refused: list[tuple[Path, str]] = []
        counts: Counter[str] = Counter()
        stopped: Outcome | None = None
        outcomes = import_in_turn(files, owner) if jobs == 1 else import_in(jobs, files, owner)
        for outcome in outcomes:
            if outcome.kind == STOPPED:
                stopped = stopped or outcome
                continue
            counts[outcome.kind] += 1
            if outcome.kind == "refused":
                refused.append((outcome.file, outcome.reason))
            self._print_progress(counts.total(), len(files), counts)
        self._print_summary(counts, refused, left_out=self._count_other_files(paths))
        if stopped is not None:
            raise CommandError(
                f"Stopped at {stopped.file}, with {len(files) - counts.total()} files left."
                f" {stopped.reason} {AGAIN}"
            )

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

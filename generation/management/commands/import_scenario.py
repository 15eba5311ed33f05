from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.core.storage import StorageUnavailableError
from generation.imaging import DecoderUnavailableError
from generation.providers.base import ProviderBusyError, ProviderError
from generation.services import importing
from generation.services.importing import ImportLockedError, LeaseLostError, Report

SHOWN = 20  # refused assets listed in the summary
PATIENCE = 5  # consecutive waits for a busy Scenario
WAIT_MAX = 60.0  # seconds; longer waits are left to a later run
AGAIN = "Run this again to resume where it stopped."


class Command(BaseCommand):
    help = (
        "Import Scenario's images with their labels. They pass the same checks and "
        f"classifiers as all others. {AGAIN}"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--project", default="", metavar="ID", help="a project of the key's team"
        )
        parser.add_argument("--limit", type=int, metavar="N", help="stop after N new images")
        parser.add_argument(
            "--restart", action="store_true", help="start at the first page instead of resuming"
        )

    def handle(
        self, *args: Any, project: str, limit: int | None, restart: bool, **options: Any
    ) -> None:
        if limit is not None and limit < 1:
            raise CommandError("--limit is a number of images, 1 or more.")
        report = Report()
        try:
            provider = importing.make_client()
            for attempt in range(PATIENCE + 1):
                run = importing.claim_run(project=project, restart=restart and attempt == 0)
                try:
                    importing.run_import(
                        run=run, provider=provider, report=report, limit=limit, watch=self._progress
                    )
                    break
                except ProviderBusyError as busy:
                    self._wait(busy, is_last=attempt == PATIENCE)
        except (StorageUnavailableError, DecoderUnavailableError) as error:
            raise CommandError(f"{error} {AGAIN}") from None
        except (LookupError, ImportLockedError, LeaseLostError, ProviderError) as error:
            raise CommandError(str(error)) from None
        finally:
            if report.seen:
                self._summary(report)

    def _wait(self, busy: ProviderBusyError, *, is_last: bool) -> None:
        seconds = importing.busy_delay(busy).total_seconds()
        if is_last or seconds > WAIT_MAX:
            raise CommandError(f"{busy} {AGAIN}")
        self.stderr.write(f"{busy} Waiting for {seconds:.0f} seconds.")
        time.sleep(seconds)

    def _progress(self, report: Report) -> None:
        """Show the progress: one updated line on a terminal, occasional lines in a log.

        The total is unknown.
        """
        is_terminal = sys.stderr.isatty()
        if not is_terminal and report.seen % 50:
            return
        line = f"page {report.pages + 1}: {report.seen} seen, {report.counts['stored']} stored"
        line += f", {report.counts['refused']} refused"
        self.stderr.write(f"\r{line}" if is_terminal else line, ending="" if is_terminal else "\n")

    def _summary(self, report: Report) -> None:
        if sys.stderr.isatty():
            self.stderr.write("")
        counts = report.counts
        self.stdout.write(
            f"{counts['stored']} images stored and queued for classification, "
            f"{counts['known'] + counts['earlier']} already known, {counts['refused']} refused, "
            f"{counts['skipped']} no images."
        )
        for reason, count in Counter(reason for _, reason in report.refused).most_common():
            self.stdout.write(f"  {count} × {reason}")
        for asset_id, reason in report.refused[:SHOWN]:
            self.stdout.write(f"    {asset_id or '(no id)'}: {reason}")
        if counts["refused"] > SHOWN:
            self.stdout.write(f"    … and {counts['refused'] - SHOWN} more")
        self.stdout.write("The list is complete." if report.finished else f"There is more. {AGAIN}")

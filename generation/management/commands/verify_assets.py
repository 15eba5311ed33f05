from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generation import imaging
from generation.services import file_checks, file_repairs, storage_checks
from generation.services.file_checks import Fault, Finding, Findings

PROGRESS_EVERY = 10.0  # seconds
LABELS = {
    Fault.MISSING: "Missing",
    Fault.ALTERED: "Altered",
    Fault.ORPHANED: "Without a row",
}
INCOMPLETE = 2  # exit code


class Command(BaseCommand):
    help = (
        "Read every stored image file and report missing and altered files, and files without a"
        " row. The exit code is 0 if none is missing or altered any more, 1 if some are, and 2 if"
        " the storage failed before the end."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--quick", action="store_true", help="only compare names: list files, read none"
        )
        parser.add_argument(
            "--repair",
            action="store_true",
            help="make thumbnails, views and renditions again from the files that are whole",
        )
        parser.add_argument(
            "--delete-orphans",
            type=float,
            metavar="HOURS",
            help="delete files without a row that were last written this many hours ago",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object per line")

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["delete_orphans"]
        if hours is not None and hours < 1:
            raise CommandError(
                "Choose at least 1 hour: an import that is running has files without a row."
            )
        self.options, self.counts = options, Findings()
        self.left: list[str] = []
        self.repaired = self.deleted = 0
        try:
            self._check_all()
        except (OSError, imaging.DecoderUnavailableError) as error:
            cause = storage_checks.explain_error(error) if isinstance(error, OSError) else ""
            raise CommandError(
                f"Stopped after {self.counts.checked} files: {error}. {cause}".strip(),
                returncode=INCOMPLETE,
            ) from error
        self._summarise()
        if self.left:
            raise CommandError("\n".join(self.left))

    def _check_all(self) -> None:
        last = time.monotonic()
        shards = file_checks.iter_shards(self.counts, is_quick=self.options["quick"])
        for number, findings in shards:
            for finding in findings:
                self._settle(finding)
            if time.monotonic() - last > PROGRESS_EVERY:
                last = time.monotonic()
                done = f"{self.counts.checked} files, {100 * number // len(file_checks.SHARDS)} %"
                self.stderr.write(done, self.style.NOTICE)

    def _settle(self, finding: Finding) -> None:
        """Report a finding, after the repair if one was asked for."""
        self.counts.add(finding)
        done = reason = ""
        if finding.fault is Fault.ORPHANED:
            done = self._delete(finding.name)
        elif self.options["repair"]:
            try:
                file_repairs.repair(finding)
                done = "repaired"
                self.repaired += 1
            except file_repairs.NotRepairableError as error:
                reason = str(error)
        self._report(finding, done, reason)

    def _delete(self, name: str) -> str:
        hours = self.options["delete_orphans"]
        if hours is None:
            return ""
        is_deleted = file_repairs.delete_orphan(name, older_than_seconds=3600 * hours)
        self.deleted += is_deleted
        return "deleted" if is_deleted else ""

    def _report(self, finding: Finding, done: str, reason: str) -> None:
        asset = str(finding.asset.uuid) if finding.asset else None
        if self.options["json"]:
            line = {"fault": finding.fault, "file": finding.name, "asset": asset, "done": done}
            self.stdout.write(json.dumps({**line, "reason": reason}))
        line_text = f"{LABELS[finding.fault]}: {finding.name}"
        if reason:
            line_text += f" (not repaired: {reason})"
        if finding.fault is not Fault.ORPHANED and not done:
            self.left.append(line_text)
        elif not self.options["json"]:
            self.stdout.write(f"{line_text}{f' ({done})' if done else ''}")

    def _summarise(self) -> None:
        if self.options["json"]:
            totals = {
                "checked": self.counts.checked,
                "missing": len(self.counts.missing),
                "altered": len(self.counts.altered),
                "orphaned": len(self.counts.orphaned),
                "repaired": self.repaired,
                "deleted": self.deleted,
            }
            self.stdout.write(json.dumps(totals))
        elif not self.left:
            done = f", {self.repaired} repaired" if self.repaired else ""
            done += f", {self.deleted} deleted" if self.deleted else ""
            orphans = len(self.counts.orphaned)
            self.stdout.write(
                f"{self.counts.checked} files verified, {orphans} without a row{done}."
            )

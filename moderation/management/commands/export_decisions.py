from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.forms.decisions import DecisionFilterForm
from moderation.services.exports import CsvChunk, describe_errors, filter_decisions, iter_csv


class Command(BaseCommand):
    help = (
        "Write decisions as CSV to standard output or to a file. The file appears "
        "only when it is complete."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", type=Path, help="output file (default: standard output)")
        parser.add_argument("--start", help="first day, YYYY-MM-DD (UTC)")
        parser.add_argument("--end", help="last day, YYYY-MM-DD (UTC)")
        parser.add_argument("--verdict", help="approve, reject, escalate, or reopen for reversals")
        parser.add_argument("--category", help="a slug of the taxonomy; an L1 includes its L2s")
        parser.add_argument("--reviewer", help="a user name")
        parser.add_argument("--by", help="person or policy")

    def handle(self, *args: Any, output: Path | None = None, **options: Any) -> None:
        names = DecisionFilterForm.base_fields
        form = DecisionFilterForm({name: options.get(name) or "" for name in names})
        if not form.is_valid():
            raise CommandError(describe_errors(form, prefix="--"))
        pieces = iter_csv(filter_decisions(form.cleaned_data))
        if output is None:
            for piece in pieces:
                sys.stdout.write(piece.text)
            return
        count = self._write_file(output, pieces)
        self.stderr.write(f"{count} decisions written to {output}.")

    def _write_file(self, output: Path, pieces: Iterable[CsvChunk]) -> int:
        count = 0
        try:
            handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        except OSError as error:
            raise CommandError(f"{output.parent} cannot be written to: {error.strerror}.") from None
        try:
            with open(handle, "w", encoding="utf-8", newline="") as file:
                for piece in pieces:
                    file.write(piece.text)
                    count += piece.rows
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(output)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return count

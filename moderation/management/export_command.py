"""The common part of the commands that export decisions and images."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.forms.exports import EXPORTS, NO, YES
from moderation.services.exports.filters import describe_errors
from moderation.services.exports.formats import FORMATS, Chunk, write_table
from moderation.services.exports.parquet import ParquetMissingError


class ExportCommand(BaseCommand):
    """Writes an export to standard output or to a file."""

    kind: str  # a key of EXPORTS

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", type=Path, help="output file (default: standard output)")
        parser.add_argument(
            "--format", choices=list(FORMATS), default="csv", help="file format (default: csv)"
        )
        parser.add_argument(
            "--evidence",
            action="store_true",
            help="add the classifiers' results and the parameters of the request",
        )
        parser.add_argument("--start", help="first day, YYYY-MM-DD (UTC)")
        parser.add_argument("--end", help="last day, YYYY-MM-DD (UTC)")
        parser.add_argument("--verdict", help="approve, reject, escalate, or reopen for reversals")
        parser.add_argument("--delivered", help="blurred or unblurred: approvals only")
        parser.add_argument("--category", help="a slug of the taxonomy; an L1 includes its L2s")
        parser.add_argument("--reviewer", help="a user name")
        parser.add_argument("--by", help="person or policy")

    def handle(
        self, *args: Any, output: Path | None = None, format: str = "csv", **options: Any
    ) -> None:
        kind = EXPORTS[self.kind]
        given = {name: options.get(name) or "" for name in kind.form.base_fields}
        form = kind.form({**given, "evidence": YES if options.get("evidence") else NO})
        if not form.is_valid():
            raise CommandError(describe_errors(form, prefix="--"))
        try:
            chunks = write_table(kind.build_table(form.cleaned_data), format)
        except ParquetMissingError as error:
            raise CommandError(str(error)) from None
        if output is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk.data)
            return
        count = self._write_file(output, chunks)
        self.stderr.write(f"{count} {self.kind} written to {output}.")

    def _write_file(self, output: Path, chunks: Iterable[Chunk]) -> int:
        count = 0
        try:
            handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
        except OSError as error:
            raise CommandError(f"{output.parent} cannot be written to: {error.strerror}.") from None
        try:
            with open(handle, "wb") as file:
                for chunk in chunks:
                    file.write(chunk.data)
                    count += chunk.rows
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(output)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return count

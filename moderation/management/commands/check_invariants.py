from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.services.invariants import CHECKS, find_violations


class Command(BaseCommand):
    help = (
        "Check the invariants I1 to I20 over the database and the stored files, for example"
        " after a crash or a restore. Changes nothing. The exit code is 1 if one is violated."
        " docs/reliability.md describes them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--without-files", action="store_true", help="Do not read the stored files."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = find_violations(files=not options["without_files"])
        if found:
            raise CommandError("\n".join(found))
        self.stdout.write(f"{len(CHECKS)} invariants hold.")

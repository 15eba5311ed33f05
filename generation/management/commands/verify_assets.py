from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from generation.services.file_checks import verify_files


class Command(BaseCommand):
    help = (
        "Read every stored image file and report missing and altered files, and files without a"
        " row. The exit code is 1 if a file is missing or altered."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = verify_files()
        for name in found.orphaned:
            self.stdout.write(f"Without a row: {name}")
        faults = [f"Missing: {name}" for name in found.missing]
        faults += [f"Altered: {name}" for name in found.altered]
        if faults:
            raise CommandError("\n".join(faults))
        self.stdout.write(f"{found.checked} files verified, {len(found.orphaned)} without a row.")

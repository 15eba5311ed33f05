from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.models import Asset
from moderation import hash_files
from moderation.models import HashList
from moderation.services import hash_lists


class Command(BaseCommand):
    help = "Import, export and search lists of hashes (SHA-256, PDQ)."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        reader = actions.add_parser("import", help="add the hashes of a file to a list")
        reader.add_argument("file", type=Path, help="text, CSV or JSON; - for standard input")
        reader.add_argument("--list", required=True, help="name of the list; created if missing")
        reader.add_argument(
            "--kind", choices=HashList.Kind.values, help="kind of a new list (default: block)"
        )
        reader.add_argument(
            "--algorithm",
            choices=hash_files.ALGORITHMS,
            default="",
            help="algorithm of hashes for which the file names none",
        )
        writer = actions.add_parser("export", help="write a list as CSV to standard output")
        writer.add_argument("--list", required=True, help="name of the list")
        seeker = actions.add_parser("search", help="find the entries that match a hash or an image")
        seeker.add_argument("value", nargs="?", default="", help="64 hexadecimal digits")
        seeker.add_argument("--asset", help="UUID of a stored image")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        {"import": self._import, "export": self._export, "search": self._search}[action](options)

    def _import(self, options: dict[str, Any]) -> None:
        file: Path = options["file"]
        try:
            content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        kind, name = options["kind"], options["list"]
        found = HashList.objects.filter(name=name).first()
        if found and kind and found.kind != kind:
            raise CommandError(f"The kind of “{name}” is {found.kind}.")
        # Parsed before the list is created, so that an invalid file leaves nothing behind.
        try:
            hash_files.parse_file(content, algorithm=options["algorithm"])
            if found is None:
                found = HashList.objects.create(name=name, kind=kind or HashList.Kind.BLOCK)
            result = hash_lists.import_entries(
                hash_list=found, content=content, algorithm=options["algorithm"]
            )
        except hash_files.HashFileError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"“{name}” ({found.get_kind_display().lower()}): {result}")

    def _export(self, options: dict[str, Any]) -> None:
        found = HashList.objects.filter(name=options["list"]).first()
        if found is None:
            raise CommandError(f"There is no list “{options['list']}”.")
        for line in hash_lists.iter_csv(found):
            self.stdout.write(line, ending="")

    def _search(self, options: dict[str, Any]) -> None:
        if bool(options["value"]) == bool(options["asset"]):
            raise CommandError("Name a hash, or an image with --asset.")
        if options["asset"]:
            matches = hash_lists.search_asset(self._find_asset(options["asset"]))
        else:
            try:
                matches = hash_lists.search_value(hash_files.parse_hash(options["value"]))
            except ValueError as error:
                raise CommandError(f"“{options['value']}” is {error}.") from None
        for match in matches:
            entry = match.entry
            near = "same" if match.distance is None else f"{match.distance} bits"
            fields = (entry.hex, entry.algorithm, near, str(entry.hash_list), entry.category)
            self.stdout.write("\t".join((*fields, entry.note)))
        if not matches:
            self.stdout.write("No list in force has it.")

    def _find_asset(self, text: str) -> Asset:
        try:
            return Asset.objects.get(uuid=UUID(text))
        except (ValueError, Asset.DoesNotExist):
            raise CommandError(f"There is no image “{text}”.") from None

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction

from moderation.services import grants


class Command(BaseCommand):
    help = (
        "Print the SQL that gives a PostgreSQL role the rights that the application needs, and no "
        "more: it cannot change the record or its triggers. --apply runs it, as the owner of the "
        "tables. Run it after every migrate."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", help="The role of DATABASE_URL, which owns no table.")
        parser.add_argument("--apply", action="store_true", help="Run the statements.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            statements = list(grants.list_statements(options["role"]))
        except grants.GrantError as error:
            raise CommandError(str(error)) from error
        if not options["apply"]:
            for statement in statements:
                self.stdout.write(f"{statement};")
            return
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        self.stdout.write(f"{options['role']} has the rights of the application.")

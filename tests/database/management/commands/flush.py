from __future__ import annotations

from typing import Any

from django.core.management.commands.flush import Command as Flush

from tests import database


class Command(Flush):
    """Django's command, which tests with real commits end with.

    Copying the migrated database is quicker than emptying 70 tables and filling those of Django
    again, and keeps the rows of the migrations.
    """

    def handle(self, **options: Any) -> None:
        if not database.restore():
            super().handle(**options)

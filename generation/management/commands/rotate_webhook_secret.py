from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.models import ApiKey


class Command(BaseCommand):
    help = "Replace the webhook signing secret of a key, and print only the new secret, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "key", help="start of the key, as the lists show it: lp_ and eight characters"
        )

    def handle(self, *args: Any, key: str, **options: Any) -> None:
        found = list(ApiKey.objects.filter(hint=key.removesuffix("…"))[:2])
        if len(found) != 1:
            raise CommandError(
                f"No key begins with {key}. The admin site and /developers/ show the start of"
                " each key."
            )
        self.stdout.write(found[0].rotate_webhook_secret())

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.models import ApiKey


class Command(BaseCommand):
    help = (
        "Replace the secret that signs a key's webhooks, and print the new one, once and nothing"
        " else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "key", help="how the key begins, as the lists show it: lp_ and eight characters"
        )

    def handle(self, *args: Any, key: str, **options: Any) -> None:
        found = list(ApiKey.objects.filter(hint=key.removesuffix("…"))[:2])
        if len(found) != 1:
            raise CommandError(
                f"No key begins with {key}. The admin and /developers/ show how each one begins."
            )
        self.stdout.write(found[0].rotate_webhook_secret())

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from generation.models import ApiKey, Scope


class Command(BaseCommand):
    help = (
        "Create an API key and print only the key, once, so that it can be piped "
        "into a secret store. The webhook signing secret goes to standard error, "
        "also once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="purpose of the key, shown to people")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            required=True,
            help="may be repeated",
        )
        parser.add_argument(
            "--owner", help="user name of the owner, whose page Developers lists the key"
        )
        parser.add_argument("--images-per-day", type=int, help="no limit if omitted")
        parser.add_argument("--calls-per-minute", type=int, default=600)

    def handle(
        self, *args: Any, name: str, scope: list[str], owner: str | None, **options: Any
    ) -> None:
        for limit in ("images_per_day", "calls_per_minute"):
            if options[limit] is not None and options[limit] < 1:
                raise CommandError(f"--{limit.replace('_', '-')} must be at least 1.")
        user = User.objects.filter(username=owner).first() if owner else None
        if owner and user is None:
            raise CommandError(f"There is no user called {owner}.")
        key, text = ApiKey.make(
            name=name,
            scopes=sorted(set(scope)),
            owner=user,
            images_per_day=options["images_per_day"],
            calls_per_minute=options["calls_per_minute"],
        )
        self.stdout.write(text)
        self.stderr.write(f"Webhook signing secret, shown only now: {key.webhook_secret}")

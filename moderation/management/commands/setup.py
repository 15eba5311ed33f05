from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import reverse

from moderation.models import Invitation
from moderation.services import team


class Command(BaseCommand):
    help = (
        "Prepare an installation: bring the database up to date, collect the static files, and make"
        " a link with which the first operator logs in. May run again, on every host."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--operator", default="operator", help="name of the first operator (%(default)s)"
        )
        parser.add_argument("--email", default="", help="mail address of that person")

    def handle(self, *args: Any, operator: str, email: str, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write("The database is up to date.")
        if settings.APPLICATION_ROLE:
            call_command("grants", settings.APPLICATION_ROLE, apply=True, stdout=self.stdout)
        call_command("collectstatic", interactive=False, verbosity=0)
        self.stdout.write(f"The static files are in {settings.STATIC_ROOT}.")
        try:
            link = team.make_first_link(username=operator, email=email)
        except team.TeamError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(describe_log_in(operator, link))


def describe_log_in(operator: str, link: tuple[Invitation, str] | None) -> str:
    if link is None:
        return f"People can log in at {settings.PUBLIC_URL}{reverse(settings.LOGIN_URL)}"
    invitation, token = link
    path = reverse("moderation:invitation-accept", args=[token])
    return (
        f"{operator} chooses a password here, once, until"
        f" {invitation.expires_at:%Y-%m-%d %H:%M} UTC:\n{settings.PUBLIC_URL}{path}\nRun this"
        " command again for a new link."
    )

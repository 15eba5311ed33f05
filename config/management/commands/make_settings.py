from __future__ import annotations

import re
import secrets
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

TEMPLATE = ".env.example"
# Variables that get new random characters, if the template names them.
KEYS = ("SECRET_KEY", "RECORD_KEY", "HEAD_SIGNING_KEY")


class Command(BaseCommand):
    help = (
        "Print a settings file for production: the template with new keys and the given values. All"
        " hosts need the same file."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "values", nargs="*", metavar="NAME=VALUE", help="for example PUBLIC_URL=https://…"
        )

    def handle(self, *args: Any, values: list[str], **options: Any) -> None:
        template = (settings.BASE_DIR / TEMPLATE).read_text()
        lines = [line.removeprefix("# ") for line in template.splitlines()]
        named = [name for name in KEYS if any(line.startswith(f"{name}=") for line in lines)]
        given = {name: secrets.token_urlsafe(50) for name in named} | parse_values(values)
        self.stdout.write(fill_in(template, given), ending="")


def parse_values(values: list[str]) -> dict[str, str]:
    found = {}
    for each in values:
        name, sign, value = each.partition("=")
        if not sign or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name) or "\n" in value:
            raise CommandError(f"{each!r} is no setting. Write NAME=VALUE.")
        found[name] = value
    return found


def fill_in(template: str, given: dict[str, str]) -> str:
    """Return the template with these values; names that it lacks come at the end."""
    left, lines = dict(given), []
    for line in template.splitlines():
        name = line.removeprefix("# ").partition("=")[0]
        lines.append(f"{name}={left.pop(name)}" if "=" in line and name in left else line)
    return "\n".join([*lines, *(f"{name}={value}" for name, value in left.items())]) + "\n"

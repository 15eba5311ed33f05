from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from moderation.services import starting_policies
from moderation.services.starting_policies import STARTING_POLICIES


class Command(BaseCommand):
    help = (
        "List the starting policies, show one, or put one into force as a new version. Without an"
        " option: list them and name the one that fits the configured classifiers."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        options = parser.add_mutually_exclusive_group()
        options.add_argument("--list", action="store_true", help="list all starting policies")
        options.add_argument("--show", choices=STARTING_POLICIES, help="show one with its rules")
        options.add_argument("--use", choices=STARTING_POLICIES, help="put one into force")

    def handle(self, *args: Any, **options: Any) -> None:
        if slug := options["show"]:
            self._show(slug)
        elif slug := options["use"]:
            policy = starting_policies.put_into_force(STARTING_POLICIES[slug], user=None)
            self.stdout.write(f"{policy} is in force from now on. {policy.summary}")
        else:
            self._list()

    def _list(self) -> None:
        suggested = starting_policies.suggest()
        for slug, policy in STARTING_POLICIES.items():
            fits = " (fits the configured classifiers)" if policy is suggested else ""
            self.stdout.write(f"{slug}{fits}\n  {policy.summary}")

    def _show(self, slug: str) -> None:
        policy = STARTING_POLICIES[slug]
        self.stdout.write(f"{policy.name}\n{policy.summary}")
        for category, limits in policy.rules.items():
            rejects = "never" if limits.reject_at is None else f"from {limits.reject_at}"
            self.stdout.write(f"  {category}: review from {limits.review_at}, reject {rejects}")

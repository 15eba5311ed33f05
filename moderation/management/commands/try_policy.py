from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.models import Policy
from moderation.presenters import trials as presenter
from moderation.services import trials
from moderation.services.trials import Plan, TrialError


class Command(BaseCommand):
    help = (
        "Replay a version of the policy over the images of the last days, and print what it would "
        "change: outcomes, wrong approvals and rejections, the queue, costs. Changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--policy", type=int, required=True, help="version to try")
        parser.add_argument(
            "--against", type=int, help="version to compare with (default: the one in force)"
        )
        parser.add_argument(
            "--days",
            type=int,
            default=30,
            help="days to look back (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.add_argument(
            "--sample",
            action="store_true",
            help=f"only about {trials.SAMPLED:,} images, drawn at random",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        candidate = self._find(options["policy"])
        against = options["against"]
        baseline = Policy.objects.active() if against is None else self._find(against)
        try:
            plan = Plan.of(candidate=candidate, baseline=baseline, days=options["days"])
        except TrialError as error:
            raise CommandError(str(error)) from None
        figures = trials.compute(plan, only_sample=options["sample"], report=self._report(plan))
        document = presenter.build_document(
            candidate=candidate.version, baseline=baseline.version, figures=figures
        )
        if options["json"]:
            self.stdout.write(json.dumps(document, indent=2))
        else:
            self.stdout.write(presenter.describe(document), ending="")

    def _find(self, version: int) -> Policy:
        try:
            return Policy.objects.get(version=version)
        except Policy.DoesNotExist:
            raise CommandError(f"There is no version {version} of the policy.") from None

    def _report(self, plan: Plan) -> Any:
        def write(images: int) -> None:
            if self.stderr.isatty():
                self.stderr.write(f"\r{images:,} of {plan.expected:,} images", ending="")

        return write

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.presenters import prompt_trials as presenter
from moderation.prompt_rules import PromptRuleError, parse_rule
from moderation.services import prompt_trials
from moderation.services.prompt_trials import PromptPlan, PromptTrialError


class Command(BaseCommand):
    help = (
        "Replay a rule of words over the requests of the last days, and print what it would have "
        "blocked, saved and lost. Changes and blocks nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("rule", help='words and phrases, such as: "naked AND NOT statue"')
        parser.add_argument(
            "--allow",
            action="append",
            default=[],
            metavar="PHRASE",
            help="phrase that never blocks; may be given several times",
        )
        parser.add_argument(
            "--days", type=int, default=30, help="days to look back (default: %(default)s)"
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
        parser.add_argument(
            "--sample",
            action="store_true",
            help=f"only about {prompt_trials.SAMPLED:,} requests, drawn at random",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        rule, allowed = options["rule"], "\n".join(options["allow"])
        try:
            plan = PromptPlan.of(parse_rule(rule, allowed), options["days"])
        except (PromptRuleError, PromptTrialError) as error:
            raise CommandError(str(error)) from None
        figures = prompt_trials.compute(plan, only_sample=options["sample"])
        document = presenter.build_document(rule=rule, allowed=allowed, figures=figures)
        if options["json"]:
            self.stdout.write(json.dumps(document, indent=2))
        else:
            self.stdout.write(presenter.describe(document), ending="")

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from moderation.models.judgement_reports import WINDOWS
from moderation.presenters import judgement


class Command(BaseCommand):
    help = (
        "Print the figures on classifiers: precision, misses, recall, each with its interval and "
        "the number of images. The worker computes them once an hour."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            choices=WINDOWS,
            default=judgement.DAYS_DEFAULT,
            help="window in days (default: %(default)s)",
        )
        parser.add_argument(
            "--format",
            choices=("text", "json", "csv"),
            default="text",
            help="format of the output (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        document = judgement.find_document(options["days"])
        if options["format"] == "json":
            self.stdout.write(json.dumps(document, indent=2))
        elif options["format"] == "csv":
            self.stdout.write(judgement.write_csv(document), ending="")
        else:
            self.stdout.write(judgement.describe(document), ending="")

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation import taxonomy
from moderation.services import learning
from moderation.services.learning import LearningError
from moderation.services.training_data import collect_labels


class Command(BaseCommand):
    help = (
        "Train heads on people's standing decisions, and print what each fulfils. A new head is a"
        " shadow head. The worker does the same once a day."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--category",
            action="append",
            metavar="SLUG",
            choices=list(taxonomy.CATEGORIES),
            help="only this category; may be repeated (default: all that people have named)",
        )
        parser.add_argument(
            "--since", metavar="DATE", help="only decisions from this day on (UTC), YYYY-MM-DD"
        )
        parser.add_argument(
            "--until", metavar="DATE", help="only decisions before this day (UTC), YYYY-MM-DD"
        )
        parser.add_argument(
            "--exclude-person",
            action="append",
            default=[],
            metavar="USERNAME",
            help="leave this person's decisions out; may be repeated",
        )
        parser.add_argument("--dry-run", action="store_true", help="store nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            recipe = learning.build_current_recipe(
                since=_parse_day(options["since"]),
                until=_parse_day(options["until"]),
                excluded=tuple(sorted(_find_person(name) for name in options["exclude_person"])),
            )
            labels = collect_labels(recipe)
            self.stdout.write(f"{len(labels.labels):,} images with a label.")
            for slug in options["category"] or sorted(labels.categories):
                training = learning.train(labels, slug)
                row = None
                if not options["dry_run"]:
                    row = learning.store(training, recipe, user=None)
                self._print(slug, training, row)
        except LearningError as error:
            raise CommandError(str(error)) from None

    def _print(self, slug: str, training: Any, row: Any) -> None:
        stored = f" (head {row.pk}, {row.status})" if row else ""
        self.stdout.write(f"{slug}{stored}")
        if training.head is not None:
            figures = training.head.figures
            self.stdout.write(
                f"  {figures.images:,} images in {figures.groups:,} groups, {figures.positives:,}"
                f" with the category; log-loss {figures.log_loss:.3f}, zero-shot"
                f" {figures.zero_shot_log_loss:.3f}; precision at least"
                f" {figures.precision_lower:.0%} from {figures.threshold:.0%} on"
            )
        self.stdout.write(f"  {learning.describe_failures(training.failures) or 'passed'}")


def _parse_day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CommandError(f"{text} is not a day such as 2026-01-31.") from None


def _find_person(name: str) -> int:
    person = User.objects.filter(username=name).first()
    if person is None:
        raise CommandError(f"There is no account {name}.")
    return person.pk

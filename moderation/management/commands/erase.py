from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moderation.models import Erasure
from moderation.services import retention


class Command(BaseCommand):
    help = (
        "Remove all images, prompts, file names and perceptual hashes of one end user. Without"
        " --yes it only counts. The exit code is 1 while images are on legal hold or in work."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--end-user", required=True, help="The id as programs send it.")
        parser.add_argument("--reason", default="manage.py erase", help="For the history.")
        parser.add_argument("--yes", action="store_true", help="Remove, instead of only counting.")

    def handle(self, *args: Any, **options: Any) -> None:
        end_user = options["end_user"].strip()
        seen = retention.preview_erasure(end_user)
        self.stdout.write(
            f"{_count(seen.images, 'image')} ({seen.undecided} undecided),"
            f" {_count(seen.requests, 'request')}, {seen.held} on legal hold."
        )
        if not options["yes"]:
            self.stdout.write("Nothing was removed. Repeat with --yes to remove them for good.")
            return
        try:
            erasure = retention.order_erasure(
                end_user=end_user, reason=options["reason"], user=None
            )
        except retention.RetentionError as error:
            raise CommandError(str(error)) from error
        claimed = Erasure.objects.filter(pk=erasure.pk).claim(limit=1, lease=retention.LEASE)
        if not claimed:
            raise CommandError("A worker carries it out now. The page Retention shows its state.")
        done = retention.run_erasure(claimed[0], go_on=lambda: True)
        erasure.refresh_from_db()
        if not done:
            raise CommandError(f"Not finished: {erasure.error} A worker goes on.")
        self.stdout.write(
            f"Removed {_count(erasure.images, 'image')}, and the texts of"
            f" {_count(erasure.requests, 'further request')}."
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.models import PublishedHead
from moderation.services import published_heads


class Command(BaseCommand):
    help = (
        "Publish the head of the record now, to the file, address and mail addresses of the "
        "settings. The worker tries failed ones again; the exit code is 1 if there is one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not published_heads.list_targets():
            raise CommandError(
                "There is no place to publish to. Set HEAD_PUBLISH_FILE, HEAD_PUBLISH_URL, "
                "HEAD_PUBLISH_MAIL or HEAD_TIMESTAMP_URL."
            )
        ordered = published_heads.order()
        if not ordered:
            raise CommandError("The record is empty: there is no head to publish yet.")
        published_heads.publish_due(go_on=lambda: True)
        rows = PublishedHead.objects.filter(pk__in=[row.pk for row in ordered]).order_by("pk")
        failed = [f"{row.get_target_display()}: {row.error}" for row in rows if row.error]
        if failed:
            raise CommandError("\n".join(failed))
        self.stdout.write(
            f"Published the head at decision {ordered[0].sequence}: {ordered[0].hash}."
        )

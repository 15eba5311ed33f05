from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from moderation.models import ChainHead, Decision
from moderation.models.decisions import verify_chain


class Command(BaseCommand):
    help = (
        "Read the whole record of decisions and report every place where it was altered. Ends with 1 if there is one."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        head = ChainHead.objects.get(pk=1)
        # Decisions made while this runs are left for the next time.
        rows = Decision.objects.filter(sequence__lte=head.sequence).order_by("sequence")
        faults = verify_chain(rows.iterator(chunk_size=1000))
        last = rows.last()
        if (last.sequence if last else 0) != head.sequence or (last.hash if last else "") != head.hash:
            faults.append("The end of the record is missing or was altered: it does not match the head of the chain.")
        if faults:
            raise CommandError("\n".join(faults))
        self.stdout.write(f"{head.sequence} decisions verified. Head: {head.hash or 'none yet'}")

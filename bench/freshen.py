"""Reset of a filled database before a run: claims of the last run end, other people hold some.

It also loads the reviews that are dealt first into memory. In practice they are cached, because the
riskiest reviews are recent: older ones have been decided. Here they are spread over a year and have
not been read since the database was filled.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from bench.seed import HOLDING
from moderation.models import Review
from moderation.presenters.panel import build_panel

DECK = 8
SOON = 6000  # more than a run deals
# Longer than any run, so that the last measurement skips as many claims as the first.
HELD_FOR = timedelta(hours=6)


def main() -> None:
    Review.objects.filter(claimed_by__isnull=False).update(claimed_by=None, claimed_until=None)
    # Every second of the riskiest reviews, but few enough that others remain.
    first = min(HOLDING * DECK * 2, Review.objects.waiting().count() // 4)
    waiting = list(Review.objects.waiting().in_order().values_list("pk", flat=True)[:first:2])
    holders = User.objects.filter(username__startswith="moderator-").order_by("-pk")[:HOLDING]
    for place, person in enumerate(holders):
        held = waiting[place::HOLDING][:DECK]
        Review.objects.filter(pk__in=held).update(
            claimed_by=person, claimed_until=timezone.now() + HELD_FOR
        )
    for review in Review.objects.waiting().in_order().for_panel()[:SOON].iterator():
        build_panel(user=holders[0], review=review, queue=None)

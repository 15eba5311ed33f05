"""Put a filled database where every run starts from: nobody of the last run holds anything, and
some others do.

And what is dealt first is in memory. In a house at work it is, because what is riskiest came
lately: the riskiest of before has been decided. Here it is spread over a year, and nobody has
looked at it since the database was filled.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from bench.seed import HOLDING
from moderation.models import Review
from moderation.presenters import panel

DECK = 8
SOON = 6000  # more than a run deals
# Longer than any run, so that the last measurement walks past as many claims as the first one.
HELD_FOR = timedelta(hours=6)


def main() -> None:
    Review.objects.filter(claimed_by__isnull=False).update(claimed_by=None, claimed_until=None)
    # Every second of the riskiest ones, but never so many that nothing is left to deal.
    first = min(HOLDING * DECK * 2, Review.objects.waiting().count() // 4)
    waiting = list(Review.objects.waiting().in_order().values_list("pk", flat=True)[:first:2])
    holders = User.objects.filter(username__startswith="moderator-").order_by("-pk")[:HOLDING]
    for place, person in enumerate(holders):
        held = waiting[place::HOLDING][:DECK]
        Review.objects.filter(pk__in=held).update(
            claimed_by=person, claimed_until=timezone.now() + HELD_FOR
        )
    for review in Review.objects.waiting().in_order().for_panel()[:SOON].iterator():
        panel(user=holders[0], review=review, queue=None)

"""Put a filled database where every run starts from: nobody of the last run holds anything, and some others do."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from bench.seed import HOLDING
from moderation.models import Review

DECK = 8
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
        Review.objects.filter(pk__in=held).update(claimed_by=person, claimed_until=timezone.now() + HELD_FOR)

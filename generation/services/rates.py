"""Images per minute, shared by all workers: a token bucket in the provider's row, changed by
compare and swap.

The row says how many tokens there were at a moment; they fill up continuously, to as many as a
minute brings. A moment that lies ahead means that the provider is left alone until then: it asked
for that (Retry-After), or it keeps failing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from django.utils import timezone

from generation.models import ProviderState

HELD_LONGEST = timedelta(minutes=10)
TRIES = 50  # each failed swap means that another worker's succeeded
SKEW = timedelta(seconds=1)  # the clock of another host may be ahead of ours by so much
STEP = Decimal("0.0001")  # what the column holds
MARGIN = timedelta(
    milliseconds=20
)  # so that nobody comes back for a token of which the last 0.0001 is missing


@dataclass(frozen=True, slots=True)
class Bucket:
    """The row as it was read."""

    tokens: Decimal | None = None
    at: datetime | None = None

    def held_until(self, now: datetime) -> datetime | None:
        """When the provider may be asked again; None: now. After a clock was set back nothing is
        held for hours.
        """
        return (
            self.at if self.at is not None and now + SKEW < self.at <= now + HELD_LONGEST else None
        )

    def level(self, per_minute: int, now: datetime) -> Decimal:
        """Tokens at that moment: negative after a request of more images than a minute brings."""
        if self.tokens is None or self.at is None:
            return Decimal(per_minute)
        minutes = max(now - self.at, timedelta()) / timedelta(minutes=1)
        return min(self.tokens + Decimal(minutes) * per_minute, Decimal(per_minute)).quantize(
            STEP, ROUND_FLOOR
        )


def look(slug: str) -> Bucket:
    row = ProviderState.objects.filter(slug=slug).values_list("tokens", "tokens_at").first()
    return Bucket(*row) if row else Bucket()


def take(slug: str, images: int, *, per_minute: int) -> datetime | None:
    """Take a token per image, all or none. None: taken. Otherwise the moment from which it is worth
    asking again.
    """
    for _ in range(TRIES):
        now, bucket = timezone.now(), look(slug)
        held = bucket.held_until(now)
        if not per_minute:
            return held
        level = bucket.level(per_minute, held or now)
        # What the bucket can never hold passes when it is full, and the others wait the longer.
        missing = max(min(images, per_minute) - level, Decimal(0))
        if missing or held:
            return (held or now) + timedelta(minutes=float(missing / per_minute)) + MARGIN
        if _swap(slug, bucket, tokens=level - images, at=now):
            return None
    return timezone.now() + timedelta(seconds=1)


def hold(slug: str, wait: timedelta, *, per_minute: int) -> None:
    """Empty the bucket and leave the provider alone for a while, 10 minutes at most; never shortens
    an earlier hold.
    """
    for _ in range(TRIES):
        now, bucket = timezone.now(), look(slug)
        until = max(now + min(wait, HELD_LONGEST), bucket.held_until(now) or now)
        if _swap(slug, bucket, tokens=min(bucket.level(per_minute, now), Decimal(0)), at=until):
            return


def _swap(slug: str, old: Bucket, *, tokens: Decimal, at: datetime) -> bool:
    """Write if the row is still as it was read: the moment is another one after every write."""
    if old.at is not None and at <= old.at <= at + SKEW:
        at = old.at + timedelta(microseconds=1)
    rows = ProviderState.objects.filter(slug=slug, tokens_at=old.at)
    if rows.update(tokens=tokens, tokens_at=at):
        return True
    if old.at is None:
        ProviderState.objects.bulk_create([ProviderState(slug=slug)], ignore_conflicts=True)
    return False

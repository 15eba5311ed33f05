"""Rate limit in images per minute, shared by all workers.

A token bucket in the provider's row, changed by compare-and-swap. The row holds the number of
tokens at a timestamp. Tokens refill continuously, up to one minute's amount. A timestamp in the
future means that the provider is on hold until then: it sent Retry-After, or it failed repeatedly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from django.utils import timezone

from generation.models import ProviderState

HELD_LONGEST = timedelta(minutes=10)
TRIES = 50  # each failed swap means that another worker succeeded
SKEW = timedelta(seconds=1)  # allowed clock difference between hosts
STEP = Decimal("0.0001")  # precision of the column
# Added to waits, so that the last 0.0001 of a token is not missing on return.
MARGIN = timedelta(milliseconds=20)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket as read from the row."""

    tokens: Decimal | None = None
    at: datetime | None = None

    def held_until(self, now: datetime) -> datetime | None:
        """Return the end of the hold; None if there is none.

        Ignores holds longer than HELD_LONGEST, which a clock that was set back would cause.
        """
        return (
            self.at if self.at is not None and now + SKEW < self.at <= now + HELD_LONGEST else None
        )

    def level(self, per_minute: int, now: datetime) -> Decimal:
        """Return the tokens at ``now``; negative after an oversized request."""
        if self.tokens is None or self.at is None:
            return Decimal(per_minute)
        minutes = max(now - self.at, timedelta()) / timedelta(minutes=1)
        return min(self.tokens + Decimal(minutes) * per_minute, Decimal(per_minute)).quantize(
            STEP, ROUND_FLOOR
        )


def read_bucket(slug: str) -> Bucket:
    """Read the provider's bucket."""
    row = ProviderState.objects.filter(slug=slug).values_list("tokens", "tokens_at").first()
    return Bucket(*row) if row else Bucket()


def take_tokens(slug: str, images: int, *, per_minute: int) -> datetime | None:
    """Take one token per image, all or none.

    Return None on success, otherwise the timestamp after which a retry is useful.
    """
    for _ in range(TRIES):
        now, bucket = timezone.now(), read_bucket(slug)
        held = bucket.held_until(now)
        if not per_minute:
            return held
        level = bucket.level(per_minute, held or now)
        # A request larger than the bucket passes when it is full; later requests wait longer.
        missing = max(min(images, per_minute) - level, Decimal(0))
        if missing or held:
            return (held or now) + timedelta(minutes=float(missing / per_minute)) + MARGIN
        if _write_if_unchanged(slug, bucket, tokens=level - images, at=now):
            return None
    return timezone.now() + timedelta(seconds=1)


def hold_provider(slug: str, wait: timedelta, *, per_minute: int) -> None:
    """Empty the bucket and hold the provider for ``wait``, at most 10 minutes.

    Never shortens an existing hold.
    """
    for _ in range(TRIES):
        now, bucket = timezone.now(), read_bucket(slug)
        until = max(now + min(wait, HELD_LONGEST), bucket.held_until(now) or now)
        if _write_if_unchanged(
            slug, bucket, tokens=min(bucket.level(per_minute, now), Decimal(0)), at=until
        ):
            return


def _write_if_unchanged(slug: str, old: Bucket, *, tokens: Decimal, at: datetime) -> bool:
    """Write the bucket if the row is unchanged. Every write changes the timestamp."""
    if old.at is not None and at <= old.at <= at + SKEW:
        at = old.at + timedelta(microseconds=1)
    rows = ProviderState.objects.filter(slug=slug, tokens_at=old.at)
    if rows.update(tokens=tokens, tokens_at=at):
        return True
    if old.at is None:
        ProviderState.objects.bulk_create([ProviderState(slug=slug)], ignore_conflicts=True)
    return False

"""Cost of generation, and the spending limit per day (UTC).

Providers report no price, so the prices come from the settings. A cost counts from just before the
request is sent, because a request of unknown outcome may have been billed. The cost is subtracted
again when the provider certainly refused.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from generation import providers
from generation.models import GenerationRequest, ProviderState

# Requests are found by their creation date, which is indexed; none waits longer than this.
OLDEST = timedelta(days=90)
Source = Callable[[datetime], Decimal]
_sources: dict[str, Source] = {}


class SpendingLimitError(Exception):
    """The daily spending limit is reached; ``str(error)`` is a message for people."""


def register_source(name: str, source: Source) -> None:
    """Register another cost source: ``source`` returns the USD spent since a timestamp."""
    _sources[name] = source


def compute_price(provider: str, *, images: int, detection: bool) -> Decimal:
    """Return the cost of a request in USD."""
    terms = providers.get_terms(provider)
    return images * (terms.image_price + (terms.detection_price if detection else 0))


def start_of_day(now: datetime | None = None) -> datetime:
    """Return the start of the day in UTC."""
    return (now or timezone.now()).replace(hour=0, minute=0, second=0, microsecond=0)


def start_of_month() -> datetime:
    """Return the start of the month in UTC."""
    return start_of_day().replace(day=1)


def start_of_next_day() -> datetime:
    """Return the start of the next day in UTC."""
    return start_of_day() + timedelta(days=1)


def requests_sent_since(since: datetime) -> QuerySet[GenerationRequest]:
    """Return requests that may have been billed: accepted, or of unknown outcome."""
    return GenerationRequest.objects.filter(
        created_at__gte=since - OLDEST, submitted_at__gte=since, cost__isnull=False
    )


def sum_images_and_cost(provider: str, since: datetime) -> tuple[int, Decimal]:
    """Return the number of images and their cost in USD since a timestamp."""
    found: dict[str, Any] = (
        requests_sent_since(since)
        .filter(provider=provider)
        .aggregate(n=Sum("image_num"), usd=Sum("cost"))
    )
    return found["n"] or 0, found["usd"] or Decimal(0)


def sum_spending(since: datetime) -> Decimal:
    """Return the USD spent since a timestamp, by requests and registered sources."""
    requests: Decimal = requests_sent_since(since).aggregate(usd=Sum("cost"))["usd"] or Decimal(0)
    return requests + sum((source(since) for source in _sources.values()), Decimal(0))


def explain_refusal(cost: Decimal) -> str:
    """Return the reason why the cost exceeds today's limit; "" if it does not.

    A cost of zero is never refused.
    """
    limit: Decimal | None = settings.SPENDING_LIMIT_PER_DAY
    if limit is None or not cost:
        return ""
    spent = sum_spending(start_of_day())
    if spent + cost <= limit:
        return ""
    return (
        f"The spending limit of {limit.normalize():f} USD per day is reached: {spent:.4f} USD spent"
        f" today, and this request costs {cost:.4f} USD. The limit resets at midnight UTC."
    )


def lock_spending(provider: str) -> None:
    """Lock the spending until the transaction ends, so that workers check the limit one by one."""
    if settings.SPENDING_LIMIT_PER_DAY is not None:
        ProviderState.objects.bulk_create([ProviderState(slug=provider)], ignore_conflicts=True)
        list(ProviderState.objects.select_for_update().order_by("pk").values_list("pk"))


def count_by_status(provider: str) -> dict[str, int]:
    """Count a provider's open and unknown requests by status."""
    statuses = [*GenerationRequest.OPEN, GenerationRequest.Status.UNKNOWN]
    rows = GenerationRequest.objects.filter(provider=provider, status__in=statuses).values_list(
        "status"
    )
    return dict(rows.annotate(n=Count("pk")).order_by())

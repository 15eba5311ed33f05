"""Queues are questions to the table of reviews, not containers: a base, narrowed by filters.

A queue's ``key`` is its slug and its filters in one word,
``waiting?category=alcohol&order=oldest``: what forms carry, what a saved queue holds, and what
stands behind /queues/ in an address.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from generation import providers
from generation.core.db.functions import Unsought
from generation.models import Source
from generation.wire.parsing import parse_integer
from moderation import taxonomy
from moderation.models import Review, SavedQueue
from moderation.models.found_categories import BITS, HasFound, HasFoundNothing
from moderation.models.reviews import ReviewQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COUNT_LIMIT = 1000
ORDERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "risk": ("Riskiest first", ("-risk", "pk")),
    "oldest": ("Oldest first", ("pk",)),
    "newest": ("Newest first", ("-pk",)),
}
# Filter → column. Each has an index behind status, in which the others stand too; so has each
# category (Review.Meta).
COLUMNS = {"source": "source", "provider": "provider"}
UNCATEGORISED = "none"
# Somebody's own and those that others share: more than a rail can hold, and one query.
SAVED_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What narrows a queue. Wrong values are dropped when read, so an old address shows more, never
    an error.
    """

    # An L1 slug, for images in which any classifier found it; "none": in which none found any.
    category: str = ""
    source: str = ""
    provider: str = ""
    risk: int = 0  # priority of at least this, 0..100
    hours: int = 0  # waiting for at least so long
    order: str = "risk"

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Filters:
        category, source, order = (
            given.get("category", ""),
            given.get("source", ""),
            given.get("order", ""),
        )
        known = category == UNCATEGORISED or category in {l1.slug for l1 in taxonomy.L1}
        return cls(
            category=category if known else "",
            source=source if source in Source.values else "",
            provider=given.get("provider", "").replace("\0", "")[:40],
            risk=_number(given.get("risk", ""), 100),
            hours=_number(given.get("hours", ""), 24 * 365),
            order=order if order in ORDERS else "risk",
        )

    def pairs(self) -> dict[str, str]:
        """Those that are set, as an address says them."""
        named = {
            name: getattr(self, name)
            for name in ("category", "source", "provider", "risk", "hours")
        }
        set_ones = {name: str(value) for name, value in named.items() if value}
        return set_ones if self.order == "risk" else {**set_ones, "order": self.order}

    def words(self) -> dict[str, str]:
        """Those that are set, as people say them."""
        return {name: _WORDS[name](value) for name, value in self.pairs().items()}

    def apply(self, rows: ReviewQuerySet) -> ReviewQuerySet:
        equal = {
            column: getattr(self, name) for name, column in COLUMNS.items() if getattr(self, name)
        }
        if self.risk:
            rows = rows.filter(risk__gte=self.risk)
        if self.hours:
            rows = rows.filter(created_at__lte=timezone.now() - timedelta(hours=self.hours))
        if self.category:
            is_of_category = (
                HasFoundNothing()
                if self.category == UNCATEGORISED
                else HasFound(BITS[self.category])
            )
            return _narrow(rows.filter(is_of_category), equal, has_index=True)
        return _narrow(rows, equal)


def _narrow(
    rows: ReviewQuerySet, equal: Mapping[str, str], *, has_index: bool = False
) -> ReviewQuerySet:
    """By the index of the category, else of the first column: it leaves the least to look through.
    SQLite takes them for equals and walked through every file that waits for one of a category that
    had none.
    """
    for column, value in equal.items():
        if has_index:
            rows = rows.alias(**{f"{column}_here": Unsought(column)})
        rows = rows.filter(**{f"{column}_here" if has_index else column: value})
        has_index = True
    return rows


def _number(text: str, most: int) -> int:
    return min(parse_integer(text) or 0, most)


def duration(hours: int) -> str:
    return f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"


_WORDS: dict[str, Callable[[str], str]] = {
    "category": lambda slug: "No category" if slug == UNCATEGORISED else taxonomy.names([slug]),
    "source": lambda value: Source(value).label,
    "provider": lambda slug: providers.available().get(slug, slug),
    "risk": lambda least: f"Risk {least} or more",
    "hours": lambda hours: f"Waiting {duration(int(hours))} or longer",
    "order": lambda order: ORDERS[order][0],
}

# What of these belongs to it, for whom, and when.
Select = Callable[[ReviewQuerySet, "User | int", datetime], ReviewQuerySet]


@dataclass(frozen=True, kw_only=True)
class Queue:
    slug: str
    name: str
    about: str
    select: Select
    permission: str = "moderation.decide_review"
    is_blind: bool = False  # what was decided before is not shown
    is_personal: bool = False  # whether it holds other rows for everybody
    holds_disputes: bool = False  # whether two people may have disagreed about what is in it
    filters: Filters = field(default_factory=Filters)
    saved: SavedQueue | None = None  # the row that it was made from

    def narrowed(self, given: Mapping[str, str]) -> Queue:
        return replace(self, filters=Filters.read(given))

    @cached_property
    def key(self) -> str:
        return "?".join(filter(None, (self.slug, self.query)))

    @cached_property
    def query(self) -> str:
        return urlencode(self.filters.pairs())

    @property
    def is_narrowed(self) -> bool:
        return bool(self.query)

    @property
    def chips(self) -> list[tuple[str, str]]:
        """What narrows it, in words, each with the address of the same queue without it."""
        pairs = self.filters.pairs()
        return [
            (
                words,
                self.narrowed(
                    {key: value for key, value in pairs.items() if key != name}
                ).get_absolute_url(),
            )
            for name, words in self.filters.words().items()
        ]

    @property
    def in_words(self) -> str:
        """Its filters as a phrase."""
        return ", ".join(self.filters.words().values())

    @property
    def order_name(self) -> str:
        return ORDERS[self.filters.order][0]

    def address(self, name: str) -> str:
        """Where something is done with this queue, its filters kept: a view below its own page, by
        name.
        """
        return "?".join(filter(None, (reverse(f"moderation:{name}", args=[self.slug]), self.query)))

    def get_absolute_url(self) -> str:
        return self.address("queue-detail")

    @property
    def claims_url(self) -> str:
        return self.address("claim-next")

    @property
    def arrivals_url(self) -> str:
        return self.address("arrivals")

    @property
    def sheet_url(self) -> str:
        return self.address("sheet")

    @property
    def saving_url(self) -> str:
        return self.address("queue-save")

    def is_open_to(self, user: User) -> bool:
        return user.has_perm(self.permission)

    def reviews(self, user: User) -> ReviewQuerySet:
        """The reviews of this queue, none for people it is not meant for."""
        rows = Review.objects.all()
        return (
            self.filters.apply(self.select(rows, user, timezone.now()))
            if self.is_open_to(user)
            else rows.none()
        )

    def work(self, user: User, avoided: Collection[str] = ()) -> ReviewQuerySet:
        """What of it is given to this person: what they may decide, and not the categories they
        want none of today.
        """
        rows = self.decidable(self.reviews(user), user, own=settings.DECIDE_OWN_REQUESTS)
        return rows.exclude(top_category_l1__in=avoided) if avoided else rows

    def decidable(self, rows: ReviewQuerySet, user: User | int, *, own: bool) -> ReviewQuerySet:
        """Without what this person is a party to. ``own``: what they asked for themselves stays
        in.
        """
        rows = rows.not_disputed_by(user) if self.holds_disputes else rows
        return rows if own else rows.not_requested_by(user)

    def withholds(self, user: User) -> bool:
        """Whether it holds what this person is never given, because they are a party to it."""
        rows = self.reviews(user)
        if not settings.DECIDE_OWN_REQUESTS and rows.filter(requested_by=user).exists():
            return True
        return self.holds_disputes and rows.disputed_by(user).exists()

    def ordered(self, rows: ReviewQuerySet) -> ReviewQuerySet:
        return rows.order_by(*ORDERS[self.filters.order][1])


QUEUES: dict[str, Queue] = {
    queue.slug: queue
    for queue in (
        Queue(
            slug="waiting",
            name="Waiting",
            about="Everything a person has to decide, riskiest first.",
            select=lambda rows, user, now: rows.waiting(),
        ),
        Queue(
            slug="escalated",
            name="Escalated",
            about="What moderators passed on to seniors, and where two of them disagreed.",
            select=lambda rows, user, now: rows.with_status(Review.Status.ESCALATED),
            permission="moderation.decide_escalated_review",
            holds_disputes=True,
        ),
        Queue(
            slug="second-opinion",
            name="Second opinion",
            about="Blind second check of a sample of colleagues' decisions.",
            select=lambda rows, user, now: rows.awaiting_second_opinion().exclude(decided_by=user),
            is_blind=True,
            is_personal=True,
        ),
        Queue(
            slug="mine",
            name="Mine",
            about="Images reserved for you. Nobody else gets them until you give them back.",
            is_personal=True,
            holds_disputes=True,
            select=lambda rows, user, now: rows.open_for(user).held_by(user, now),
        ),
    )
}


def named(key: str, user: User) -> Queue | None:
    """The queue that a key names, if there is one and it is theirs to work on."""
    slug, _, query = key.partition("?")
    queue = QUEUES.get(slug)
    if queue is None or not queue.is_open_to(user):
        return None
    return queue.narrowed(dict(parse_qsl(query[:500]))) if query else queue


def for_user(user: User) -> list[Queue]:
    return [queue for queue in QUEUES.values() if queue.is_open_to(user)]


def saved_for(user: User) -> list[Queue]:
    """The queues this person saved, then those that others share, each by name; none they may not
    work on.
    """
    rows = SavedQueue.objects.visible_to(user).select_related("owner")[:SAVED_SHOWN]
    mine_first = sorted(rows, key=lambda row: (row.owner_id != user.pk, row.name.casefold()))
    found = [(row, named(f"{row.base}?{row.query}", user)) for row in mine_first]
    return [replace(queue, name=row.name, saved=row) for row, queue in found if queue is not None]


def may_share(user: User) -> bool:
    """Whether this person may save a queue for everybody: seniors and policy leads."""
    return user.has_perm("moderation.decide_escalated_review") or user.has_perm(
        "moderation.activate_policy"
    )


def bounded_count(rows: QuerySet[Any]) -> str:
    """Count up to a limit, so that a long queue costs no more than a short one."""
    return bounded(rows.values("pk")[: COUNT_LIMIT + 1].count())


def bounded(found: int) -> str:
    """A number that was counted no further than one above the limit."""
    return f"{COUNT_LIMIT}+" if found > COUNT_LIMIT else str(found)

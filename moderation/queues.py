"""Queues: named queries over reviews, narrowed by filters.

A queue's ``key`` is its slug with its filters, such as ``waiting?category=alcohol&order=oldest``.
Forms, saved queues and URLs below /queues/ contain it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from generation import providers
from generation.core.db.functions import Unsought
from generation.core.db.keyset import rows_after
from generation.models import Source
from generation.wire.parsing import parse_integer
from moderation import taxonomy
from moderation.models import ImportedFile, ImportSet, Review, SavedQueue
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
# Filter to column. Each has an index after the status that includes the other columns; so has each
# category (Review.Meta).
COLUMNS = {"source": "source", "provider": "provider"}
UNCATEGORISED = "none"
# Maximum of own and shared saved queues in one query, more than the sidebar can show.
SAVED_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The filters of a queue.

    Invalid values are ignored: an outdated URL shows more reviews instead of an error.
    """

    # An L1 slug: images in which any classifier found it. "none": images without any found
    # category.
    category: str = ""
    source: str = ""
    provider: str = ""
    risk: int = 0  # minimum risk, 0..100
    hours: int = 0  # minimum waiting time
    import_set: str = ""  # UUID of an import set
    order: str = "risk"

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Filters:
        """Parse query parameters."""
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
            risk=_parse_number(given.get("risk", ""), 100),
            hours=_parse_number(given.get("hours", ""), 24 * 365),
            import_set=_parse_uuid(given.get("import_set", "")),
            order=order if order in ORDERS else "risk",
        )

    def query_params(self) -> dict[str, str]:
        """Return the filters that are set, as query parameters."""
        named = {
            name: getattr(self, name)
            for name in ("category", "source", "provider", "risk", "hours", "import_set")
        }
        set_ones = {name: str(value) for name, value in named.items() if value}
        return set_ones if self.order == "risk" else {**set_ones, "order": self.order}

    def labels(self) -> dict[str, str]:
        """Return the filters that are set, as display text."""
        return {name: _WORDS[name](value) for name, value in self.query_params().items()}

    def apply(self, rows: ReviewQuerySet) -> ReviewQuerySet:
        equal = {
            column: getattr(self, name) for name, column in COLUMNS.items() if getattr(self, name)
        }
        if self.risk:
            rows = rows.filter(risk__gte=self.risk)
        if self.hours:
            rows = rows.filter(created_at__lte=timezone.now() - timedelta(hours=self.hours))
        if self.import_set:
            rows = rows.filter(pk__in=_list_imported(UUID(self.import_set)))
        if self.category:
            is_of_category = (
                HasFoundNothing()
                if self.category == UNCATEGORISED
                else HasFound(BITS[self.category])
            )
            return _narrow(rows.filter(is_of_category), equal, has_index=True)
        return _narrow(rows, equal)


def _list_imported(import_set: UUID) -> list[int]:
    """Return the reviews of an import set, which has at most 10,000 files.

    As a subquery, SQLite fetched every row of the queue; now it checks ids inside the index.
    """
    files = ImportedFile.objects.with_asset_in(import_set)
    return list(Review.objects.filter(asset__in=files.values("asset")).values_list("pk", flat=True))


def _narrow(
    rows: ReviewQuerySet, equal: Mapping[str, str], *, has_index: bool = False
) -> ReviewQuerySet:
    """Filter by equality, using the index of the category or else of the first column.

    The other columns are wrapped in Unsought: SQLite considered all indexes equally selective, and
    read all waiting imports to find those of a category that had none.
    """
    for column, value in equal.items():
        if has_index:
            rows = rows.alias(**{f"{column}_here": Unsought(column)})
        rows = rows.filter(**{f"{column}_here" if has_index else column: value})
        has_index = True
    return rows


def _parse_number(text: str, most: int) -> int:
    return min(parse_integer(text) or 0, most)


def _parse_uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def _describe_import(uuid: str) -> str:
    name = ImportSet.objects.filter(uuid=uuid).values_list("name", flat=True).first()
    return f"Import “{name}”" if name else "An unknown import"


def format_duration(hours: int) -> str:
    return f"{hours // 24} d" if hours % 24 == 0 else f"{hours} h"


_WORDS: dict[str, Callable[[str], str]] = {
    "category": lambda slug: (
        "No category" if slug == UNCATEGORISED else taxonomy.join_names([slug])
    ),
    "source": lambda value: Source(value).label,
    "provider": lambda slug: providers.list_labels().get(slug, slug),
    "risk": lambda least: f"Risk {least} or more",
    "hours": lambda hours: f"Waiting {format_duration(int(hours))} or longer",
    "import_set": _describe_import,
    "order": lambda order: ORDERS[order][0],
}

# Function from reviews, user and time to the reviews of a queue.
Select = Callable[[ReviewQuerySet, "User | int", datetime], ReviewQuerySet]


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A named query over reviews, with filters."""

    slug: str
    name: str
    about: str
    select: Select
    permission: str = "moderation.decide_review"
    is_blind: bool = False  # the first decision is hidden
    is_personal: bool = False  # contains different rows for each user
    holds_disputes: bool = False  # may contain disagreements
    filters: Filters = field(default_factory=Filters)
    saved: SavedQueue | None = None  # the saved queue it was created from

    def narrowed(self, given: Mapping[str, str]) -> Queue:
        return replace(self, filters=Filters.read(given))

    @cached_property
    def key(self) -> str:
        return "?".join(filter(None, (self.slug, self.query)))

    @cached_property
    def query(self) -> str:
        return urlencode(self.filters.query_params())

    @property
    def is_narrowed(self) -> bool:
        return bool(self.query)

    @property
    def chips(self) -> list[tuple[str, str]]:
        """The text of each filter that is set, with the URL that removes it."""
        pairs = self.filters.query_params()
        return [
            (
                words,
                self.narrowed(
                    {key: value for key, value in pairs.items() if key != name}
                ).get_absolute_url(),
            )
            for name, words in self.filters.labels().items()
        ]

    @property
    def in_words(self) -> str:
        """Its filters as a phrase."""
        return ", ".join(self.filters.labels().values())

    @property
    def order_name(self) -> str:
        return ORDERS[self.filters.order][0]

    def build_url(self, name: str) -> str:
        """Return the URL of a view below the queue's page, with the filters."""
        return "?".join(filter(None, (reverse(f"moderation:{name}", args=[self.slug]), self.query)))

    def get_absolute_url(self) -> str:
        return self.build_url("queue-detail")

    @property
    def claims_url(self) -> str:
        return self.build_url("claim-next")

    @property
    def arrivals_url(self) -> str:
        return self.build_url("arrivals")

    @property
    def sheet_url(self) -> str:
        return self.build_url("sheet")

    @property
    def saving_url(self) -> str:
        return self.build_url("queue-save")

    def is_open_to(self, user: User) -> bool:
        return user.has_perm(self.permission)

    def reviews(self, user: User) -> ReviewQuerySet:
        """Return the reviews of this queue; none for users without permission."""
        rows = Review.objects.all()
        return (
            self.filters.apply(self.select(rows, user, timezone.now()))
            if self.is_open_to(user)
            else rows.none()
        )

    def work(self, user: User, avoided: Collection[str] = ()) -> ReviewQuerySet:
        """Return the reviews to give to this user.

        Only reviews that the user may decide, and none in the categories to skip today.
        """
        rows = self.decidable(self.reviews(user), user, own=settings.DECIDE_OWN_REQUESTS)
        return rows.exclude(top_category_l1__in=avoided) if avoided else rows

    def decidable(self, rows: ReviewQuerySet, user: User | int, *, own: bool) -> ReviewQuerySet:
        """Exclude reviews to which the user is a party.

        ``own``: keep images that the user requested.
        """
        rows = rows.not_disputed_by(user) if self.holds_disputes else rows
        return rows if own else rows.not_requested_by(user)

    def withholds(self, user: User) -> bool:
        """Return whether the queue has reviews that this user may not decide as a party to them."""
        rows = self.reviews(user)
        if not settings.DECIDE_OWN_REQUESTS and rows.filter(requested_by=user).exists():
            return True
        return self.holds_disputes and rows.disputed_by(user).exists()

    def after(self, rows: ReviewQuerySet, *, risk: int, pk: int) -> ReviewQuerySet:
        """Keep the rows that follow this one in the queue's order."""
        order = ORDERS[self.filters.order][1]
        return rows_after(rows, order, (risk, pk)[-len(order) :])

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
            about="Escalated images, and disagreements between two people.",
            select=lambda rows, user, now: rows.escalated(),
            permission="moderation.decide_escalated_review",
            holds_disputes=True,
        ),
        Queue(
            slug="lead",
            name="For the lead",
            about="Escalated by senior moderators, and disagreements none of them may settle.",
            select=lambda rows, user, now: rows.awaiting_lead(),
            permission=Review.LEAD_PERMISSION,
            holds_disputes=True,
        ),
        Queue(
            slug="second-opinion",
            name="Second opinion",
            about="Blind second check of a sample of decisions, of colleagues and of the policy.",
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
            # Includes golden images, which are settled.
            select=lambda rows, user, now: rows.held_by(user, now),
        ),
    )
}


def find_queue(key: str, user: User) -> Queue | None:
    """Return the queue with this key, or None if there is none or the user may not use it."""
    slug, _, query = key.partition("?")
    queue = QUEUES.get(slug)
    if queue is None or not queue.is_open_to(user):
        return None
    return queue.narrowed(dict(parse_qsl(query[:500]))) if query else queue


def list_queues(user: User) -> list[Queue]:
    return [queue for queue in QUEUES.values() if queue.is_open_to(user)]


def list_saved_queues(user: User) -> list[Queue]:
    """Return the user's own saved queues, then shared ones, by name.

    Queues that the user may not use are left out.
    """
    rows = SavedQueue.objects.visible_to(user).select_related("owner")[:SAVED_SHOWN]
    mine_first = sorted(rows, key=lambda row: (row.owner_id != user.pk, row.name.casefold()))
    found = [(row, find_queue(f"{row.base}?{row.query}", user)) for row in mine_first]
    return [replace(queue, name=row.name, saved=row) for row, queue in found if queue is not None]


def may_share(user: User) -> bool:
    """Return whether this user may save queues for everybody: seniors and policy leads."""
    return user.has_perm("moderation.decide_escalated_review") or user.has_perm(
        "moderation.activate_policy"
    )


def count_bounded(rows: QuerySet[Any]) -> str:
    """Count up to a limit, so that a long queue costs no more than a short one."""
    return format_bounded(rows.values("pk")[: COUNT_LIMIT + 1].count())


def format_bounded(found: int) -> str:
    """Format a bounded count, such as "12" or "1000+"."""
    return f"{COUNT_LIMIT}+" if found > COUNT_LIMIT else str(found)

"""Data of the request list: filters from the URL, keyset pagination."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Count, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from generation.core.db import keyset
from generation.models import Asset, GenerationRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

PAGE_SIZE = 25
ORDER = ("-created_at", "-pk")
QUERY_MAX = 200
OPEN = "open"
# Filter choices: all open requests, and each status in which a request stops.
CHOICES = {
    "": "All",
    OPEN: "In progress",
    **{
        status.value: status.label
        for status in GenerationRequest.Status
        if status.value not in GenerationRequest.OPEN
    },
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of the request list."""

    status: str = ""
    query: str = ""
    before: UUID | None = None

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Filters:
        """Read the filters from URL parameters; ignore invalid ones, so old links still work."""
        status = params.get("status", "")
        known = status in CHOICES or status in GenerationRequest.Status.values
        query = params.get("q", "").replace("\0", "").strip()[:QUERY_MAX]
        return cls(
            status=status if known else "", query=query, before=parse_uuid(params.get("before", ""))
        )

    @property
    def filter_query(self) -> str:
        """The filters as a query string, without the cursor."""
        return urlencode(
            {name: value for name, value in (("status", self.status), ("q", self.query)) if value}
        )

    @property
    def query_string(self) -> str:
        """The filters and the cursor as a query string."""
        place = urlencode({"before": self.before}) if self.before else ""
        return "&".join(part for part in (self.filter_query, place) if part)

    def apply(self, rows: QuerySet[GenerationRequest]) -> QuerySet[GenerationRequest]:
        if self.status == OPEN:
            rows = rows.filter(status__in=GenerationRequest.OPEN)
        elif self.status:
            rows = rows.filter(status=self.status)
        return rows.filter(_match_text(self.query)) if self.query else rows


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the request list."""

    rows: Sequence[GenerationRequest]
    has_older: bool

    @property
    def last(self) -> GenerationRequest:
        return self.rows[-1]

    @property
    def is_moving(self) -> bool:
        """True if a row can still change without a person, so that polling is useful."""
        return any(row.is_open for row in self.rows)


def read_page(*, user: User | AnonymousUser, filters: Filters) -> Page:
    """Return the newest requests, or those before the cursor, with blurred previews.

    ``stored`` counts the images also for people who may not see them.
    """
    rows = filters.apply(GenerationRequest.objects.visible_to(user))
    if filters.before is not None:
        rows = _filter_before(rows, filters.before)
    previews = (
        Asset.objects.visible_to(user)
        .only("uuid", "request_id", "position", "preview")
        .order_by("position")
    )
    of_request = Asset.objects.filter(request=OuterRef("pk")).order_by().values("request")
    stored = Coalesce(Subquery(of_request.annotate(n=Count("pk")).values("n")), 0)
    found, has_older = keyset.read_page(
        rows.annotate(stored=stored)
        .order_by(*ORDER)
        .select_related("requested_by")
        .defer("submit_answer", "negative_prompt")
        .prefetch_related(Prefetch("assets", queryset=previews, to_attr="previews")),
        PAGE_SIZE,
    )
    return Page(rows=found, has_older=has_older)


def _filter_before(rows: QuerySet[GenerationRequest], uuid: UUID) -> QuerySet[GenerationRequest]:
    place = GenerationRequest.objects.filter(uuid=uuid).values_list("created_at", "pk").first()
    return rows if place is None else keyset.rows_after(rows, ORDER, place)


def _match_text(query: str) -> Q:
    """Return the condition for a search text.

    Matches parts of the prompt or model name, a task ID, or a request ID (whole or its first eight
    characters).
    """
    found = Q(prompt__icontains=query) | Q(model_name__icontains=query) | Q(provider_task_id=query)
    if re.fullmatch(r"[0-9a-fA-F]{8}", query):
        found |= Q(uuid__istartswith=query)
    uuid = parse_uuid(query)
    return found | Q(uuid=uuid) if uuid is not None else found


def parse_uuid(text: str) -> UUID | None:
    """Parse a UUID; None if it is invalid."""
    try:
        return UUID(text)
    except ValueError:
        return None

"""Context of the list of learned heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moderation import taxonomy
from moderation.models import Head
from moderation.services import learning

RETIRED_SHOWN = 20
TONES = {"shadow": "queued", "advisory": "processing", "active": "succeeded"}


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A head with what keeps it from its next step."""

    head: Head
    category: str
    tone: str
    obstacles: list[str]

    @property
    def may_become_active(self) -> bool:
        return self.head.status == Head.Status.ADVISORY and not self.obstacles


def build_list() -> dict[str, Any]:
    """Return the heads in use, of which there are at most three for each category, and retired."""
    rows = Head.objects.defer("artefact").select_related("created_by")
    used = rows.exclude(status=Head.Status.RETIRED).order_by("category", "-pk")
    retired = rows.filter(status=Head.Status.RETIRED).order_by("-pk")[:RETIRED_SHOWN]
    return {
        "heads": [_describe(head) for head in used],
        "retired": [_describe(head) for head in retired],
    }


def _describe(head: Head) -> HeadRow:
    is_retired = head.status == Head.Status.RETIRED
    return HeadRow(
        head,
        taxonomy.join_names([head.category]),
        TONES.get(head.status, "cancelled"),
        [] if is_retired else learning.list_obstacles(head),
    )

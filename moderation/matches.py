"""Matches: what is known of an image by its hashes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Origin(StrEnum):
    """The source of the knowledge."""

    REJECTED = "rejected"  # an image with a standing rejection
    APPROVED = "approved"  # an image that a person approved
    BLOCKED = "blocked"  # an entry of a block list
    ALLOWED = "allowed"  # an entry of an allow list


BAD = frozenset({Origin.REJECTED, Origin.BLOCKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A known image or hash that an image matches.

    ``distance`` is the number of differing bits of 256; None: the same file, by SHA-256.
    """

    origin: Origin
    text: str  # names what was matched; no full stop
    categories: tuple[str, ...] = ()
    distance: int | None = None
    review: str = ""  # UUID of the known image's review; empty for an entry of a list
    is_blurred: bool = False  # approved to be delivered blurred

    @property
    def is_same_file(self) -> bool:
        return self.distance is None

    @property
    def is_bad(self) -> bool:
        return self.origin in BAD

    @property
    def rejects(self) -> bool:
        """Return whether the match rejects by itself: it is the same file, and has a category."""
        return self.is_bad and self.is_same_file and bool(self.categories)

    def to_json(self) -> dict[str, Any]:
        stored = {**asdict(self), "origin": self.origin.value, "categories": list(self.categories)}
        if not self.is_blurred:
            del stored["is_blurred"]  # as in matches from before this field
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Match:
        return cls(
            **{
                **stored,
                "origin": Origin(stored["origin"]),
                "categories": tuple(stored["categories"]),
            }
        )


def read_matches(raw: Any) -> list[Match]:
    """Return the matches in a classifier's raw result; [] for other classifiers."""
    stored = raw.get("matches") if isinstance(raw, dict) else None
    return [Match.from_json(match) for match in stored or ()]

"""Context of the contact sheet: tiles, near duplicates, and the preview of a bulk decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import QueryDict
from django.urls import reverse

from generation.wire.parsing import parse_integer
from moderation import taxonomy
from moderation.models import Preferences, Review
from moderation.models.preferences import ImageCover
from moderation.presenters.labels import SUGGESTIONS, Suggestion
from moderation.presenters.panel import count_claim_seconds
from moderation.queues import Queue
from moderation.services import batches, bulk_claims

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SIZES = {"s": "Small", "m": "Medium", "l": "Large"}
PROMPT_SHOWN = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetOptions:
    """The view options of a sheet. All are in the URL, so that reload and Back keep them."""

    queue: Queue
    size: str = "m"
    opened: frozenset[int] = frozenset()  # near-duplicate groups shown as single images
    is_revealed: bool = False
    batch: UUID | None = None  # the batch decided last

    @classmethod
    def read(cls, queue: Queue, given: QueryDict) -> SheetOptions:
        size = given.get("size", "")
        opened_groups = {
            parse_integer(near_duplicate_group)
            for near_duplicate_group in given.getlist("open")[:100]
        }
        try:
            batch = UUID(given.get("batch", ""))
        except ValueError:
            batch = None
        return cls(
            queue=queue,
            size=size if size in SIZES else "m",
            batch=batch,
            is_revealed=given.get("reveal") == "1",
            opened=frozenset(
                near_duplicate_group
                for near_duplicate_group in opened_groups
                if near_duplicate_group is not None
            ),
        )

    @property
    def query(self) -> str:
        pairs: list[tuple[str, Any]] = list(self.queue.filters.query_params().items())
        pairs += [("size", self.size)] if self.size != "m" else []
        pairs += [("open", near_duplicate_group) for near_duplicate_group in sorted(self.opened)]
        pairs += [("reveal", 1)] if self.is_revealed else []
        pairs += [("batch", self.batch)] if self.batch else []
        return urlencode(pairs)

    def build_url(self, name: str) -> str:
        """Return a URL below the sheet's queue with the same options."""
        return "?".join(
            filter(None, (reverse(f"moderation:{name}", args=[self.queue.slug]), self.query))
        )

    @property
    def address(self) -> str:
        return self.build_url("sheet")

    @property
    def decisions_url(self) -> str:
        return replace(self, batch=None).build_url("sheet-decide")

    @property
    def return_url(self) -> str:
        return replace(self, batch=None, opened=frozenset()).build_url("sheet-return")

    @property
    def reveal_url(self) -> str:
        return replace(self, is_revealed=not self.is_revealed).address

    @property
    def sizes(self) -> list[tuple[str, str, str]]:
        return [(size, name, replace(self, size=size).address) for size, name in SIZES.items()]

    def toggled(self, near_duplicate_group: int) -> str:
        """Return the URL that expands or collapses a near-duplicate group."""
        return replace(self, opened=self.opened ^ {near_duplicate_group}).address


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A tile of the sheet: one image, or near duplicates that are decided together."""

    members: Sequence[Review]
    number: int
    cover: ImageCover
    is_revealed: bool
    is_chosen: bool
    reader: User | None = None  # the viewer; prompts are shown only if visible to them
    toggle_url: str = ""  # URL that expands or collapses the near duplicates
    alike: int = 0  # number of near duplicates on the sheet if expanded
    has_common_caption: bool = False  # the head of the sheet states it once

    @property
    def caption(self) -> tuple[str, str]:
        """Return the name of the finding and its confidence, "" without one."""
        review = self.review
        hides = review.is_audit or review.top_confidence is None
        return name_finding(review), "" if hides else f"{review.top_confidence:.0f}"

    @property
    def review(self) -> Review:
        return self.members[0]

    @property
    def is_grey(self) -> bool:
        return self.cover == ImageCover.GREY

    @property
    def prompt(self) -> str:
        request = self.review.asset.request
        if request is None or self.reader is None or not request.is_visible_to(self.reader):
            return ""
        return request.prompt[:PROMPT_SHOWN]

    @property
    def label(self) -> str:
        """Accessible name of the tile."""
        name, confidence = self.caption
        sure = f" {confidence}" if confidence else ""
        alike = f", {len(self.members)} images that look the same" if len(self.members) > 1 else ""
        return f"{name}{sure}, image {self.review.asset.short_id}{alike}"


def name_finding(review: Review) -> str:
    """Return what was found on an image; for an audit, only that it is one."""
    return "Blind check" if review.is_audit else review.top_category_name


def build_tiles(
    reviews: Iterable[Review],
    *,
    options: SheetOptions,
    preferences: Preferences,
    chosen: Collection[UUID] = (),
    reader: User | None = None,
) -> list[Tile]:
    """Build the tiles.

    Near duplicates share one tile, at the position of the first, unless their group is expanded.
    """
    grouped: dict[tuple[str, int], list[Review]] = {}
    for review in reviews:
        key = (
            ("review", review.pk)
            if review.near_duplicate_group is None
            else ("near_duplicate_group", review.near_duplicate_group)
        )
        grouped.setdefault(key, []).append(review)
    parts: list[tuple[list[Review], int]] = []
    for group in grouped.values():
        is_expanded = group[0].near_duplicate_group in options.opened
        parts += (
            [([review], len(group)) for review in group] if is_expanded else [(group, len(group))]
        )
    tiles = [
        replace(_build_tile(members, number, alike, options, preferences, chosen), reader=reader)
        for number, (members, alike) in enumerate(parts, 1)
    ]
    common = find_common_caption(tiles)
    return [replace(tile, has_common_caption=tile.caption == common) for tile in tiles]


def find_common_caption(tiles: Sequence[Tile]) -> tuple[str, str] | None:
    """Return the caption that most tiles share, or None: it then says nothing about a tile."""
    counts = Counter(tile.caption for tile in tiles).most_common(1)
    return counts[0][0] if counts and counts[0][1] > max(2, len(tiles) / 2) else None


def _build_tile(
    members: Sequence[Review],
    number: int,
    alike: int,
    options: SheetOptions,
    preferences: Preferences,
    chosen: Collection[UUID],
) -> Tile:
    first = members[0]
    cover = preferences.cover_for(first.top_category_l1)
    return Tile(
        members=members,
        number=number,
        cover=cover,
        is_revealed=options.is_revealed or cover != ImageCover.BLUR,
        is_chosen=any(review.uuid in chosen for review in members),
        toggle_url=options.toggled(first.near_duplicate_group)
        if alike > 1 and first.near_duplicate_group is not None
        else "",
        alike=alike if alike > len(members) else 0,
    )


def build_sheet(
    *,
    user: User,
    options: SheetOptions,
    preferences: Preferences,
    marked: Collection[UUID] = (),
) -> dict[str, Any]:
    """Build the context of the sheet: the user's claimed reviews of the queue. Claims nothing."""
    reviews = bulk_claims.list_sheet(user=user, queue=options.queue)
    ends = [review.claimed_until for review in reviews if review.claimed_until]
    tiles = build_tiles(
        reviews, options=options, preferences=preferences, chosen=marked, reader=user
    )
    return {
        "queue": options.queue,
        "sight": options,
        "tiles": tiles,
        "common_caption": find_common_caption(tiles),
        "count": len(reviews),
        "until": min(ends, default=None),
        "last": max(ends, default=None),
        "lease": min((count_claim_seconds(review) for review in reviews), default=0),
        "suggestions": suggest_categories(reviews),
        "may_escalate": not all(review.for_lead for review in reviews),
    }


def suggest_categories(reviews: Iterable[Review]) -> list[Suggestion]:
    """Return the most frequent top categories of the sheet that can be reject reasons."""
    allowed = taxonomy.list_reject_reasons()
    often = Counter(
        review.top_category
        for review in reviews
        if review.top_category in allowed and not review.is_audit
    ).most_common(SUGGESTIONS)
    return [
        Suggestion(category=taxonomy.get(slug), confidence=None, digit=digit)
        for digit, (slug, _) in enumerate(often, 1)
    ]


# --- Preview of a bulk decision ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The marked reviews of a sheet that the user still holds."""

    reviews: Sequence[Review]
    left_out: str  # message about marked reviews that are no longer held


def select_marked(
    *,
    user: User,
    options: SheetOptions,
    shown: Collection[UUID],
    chosen: Collection[UUID],
    the_rest: bool = False,
) -> Marked:
    """Return the reviews of the chosen tiles, or of all other ``shown`` tiles.

    Only reviews that were on the page are included: another tab may have added more to the sheet.
    Tiles are rebuilt from everything that was shown: a tile stays chosen if any of its images was
    chosen, and images no longer held are named.
    """
    here = {
        review.uuid: review
        for review in bulk_claims.list_sheet(user=user, queue=options.queue)
        if review.uuid in shown
    }
    lost = _load_reviews((set(shown) | set(chosen)) - set(here))
    built = build_tiles(
        [*here.values(), *lost], options=options, preferences=Preferences(), chosen=chosen
    )
    picked = [review for tile in built if tile.is_chosen != the_rest for review in tile.members]
    gone = [review for review in picked if review.uuid not in here]
    return Marked(
        reviews=[review for review in picked if review.uuid in here],
        left_out=_describe_missing(gone),
    )


def _load_reviews(uuids: Collection[UUID]) -> list[Review]:
    """Load reviews with what a message about them needs."""
    if not uuids:
        return []
    return list(
        Review.objects.filter(uuid__in=list(uuids)[: batches.LIMIT])
        .select_related("asset")
        .order_by("pk")
    )


def _describe_missing(reviews: Sequence[Review]) -> str:
    names = [review.asset.short_id for review in reviews]
    shown = ", ".join(names[: batches.NAMED_MAX]) + (
        " and others" if len(names) > batches.NAMED_MAX else ""
    )
    return f"{len(names)} left out, because you no longer hold them: {shown}." if names else ""


def build_preview(
    reviews: Sequence[Review],
    *,
    options: SheetOptions,
    preferences: Preferences,
    seen: Collection[UUID],
) -> list[Mapping[str, Any]]:
    """Return the images of a bulk decision, each covered unless it was revealed before."""
    clear = {
        review.near_duplicate_group
        for review in reviews
        if review.near_duplicate_group is not None and review.uuid in seen
    }
    return [
        {
            "review": review,
            "name": name_finding(review),
            "is_grey": (cover := preferences.cover_for(review.top_category_l1)) == ImageCover.GREY,
            "is_seen": options.is_revealed
            or cover != ImageCover.BLUR
            or review.uuid in seen
            or review.near_duplicate_group in clear,
        }
        for review in reviews
    ]

"""The place of one decision in the chain, and what covers it: verification and published head."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from moderation.models import ChainHead, Decision, PublishedHead, Verification
from moderation.models.chain import EventIndex
from moderation.models.decisions import load_event_index
from moderation.record_keys import RecordKeyError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainProof:
    """The checks of one decision's hash, made now."""

    sequence: int
    length: int  # of the record
    hash: str
    previous_hash: str
    is_hash_right: bool  # the fields give the stored hash
    is_link_right: bool  # the decision before has the hash that this one names
    verification: Verification | None  # the newest that covers it
    published: PublishedHead | None  # the oldest published head that covers it

    @property
    def is_right(self) -> bool:
        return self.is_hash_right and self.is_link_right


def prove(decisions: Iterable[Decision]) -> dict[int, ChainProof]:
    """Return the proof of each decision, by primary key, in a fixed number of queries."""
    rows = list(decisions)
    if not rows:
        return {}
    head = ChainHead.objects.get(pk=1)
    before = Decision.objects.filter(sequence__in=[row.sequence - 1 for row in rows])
    hashes = {0: "", **dict(before.values_list("sequence", "hash"))}
    newest = Verification.objects.find_newest()
    heads = _find_covering_heads([row.sequence for row in rows])
    events = load_event_index()
    return {
        row.pk: ChainProof(
            sequence=row.sequence,
            length=head.sequence,
            hash=row.hash,
            previous_hash=row.previous_hash,
            is_hash_right=_has_right_hash(row, events),
            is_link_right=hashes.get(row.sequence - 1) == row.previous_hash,
            verification=newest if newest and newest.until >= row.sequence else None,
            published=next((one for one in heads if one.sequence >= row.sequence), None),
        )
        for row in rows
    }


def _has_right_hash(row: Decision, events: EventIndex) -> bool:
    """Return whether the fields give the stored hash; without its key nothing shows that."""
    try:
        return row.compute_hash(events) == row.hash
    except RecordKeyError:
        return False


def _find_covering_heads(sequences: list[int]) -> list[PublishedHead]:
    """Return the published heads that first cover the oldest and the newest of these decisions."""
    found = []
    for sequence in {min(sequences), max(sequences)}:
        rows = PublishedHead.objects.published().filter(sequence__gte=sequence)
        if first := rows.order_by("sequence", "pk").first():
            found.append(first)
    return sorted(found, key=lambda one: one.sequence)

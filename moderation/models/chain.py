"""Hashes of decisions: what they cover, and the check of a chain of them."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from moderation import record_keys
from moderation.models.classification_summary import remove_words

# The versions of the form. Decisions from before the seal of the record have the first one.
UNSIGNED: Final = 1
SIGNED: Final = 2
# Columns that a hash covers, as lookups from a decision.
OWN: Final = (
    *("sequence", "previous_hash", "hash", "version", "uuid", "review", "verdict", "categories"),
    *("note", "is_blurred", "reviewer", "reviewer_name", "policy", "policy_in_force"),
    *("by_policy", "seconds", "reverses", "second_of", "batch", "created_at", "evidence"),
)
RELATED: Final = (
    *("review__uuid", "review__requested_by", "review__asset__uuid", "review__asset__sha256"),
    *("review__asset__source_sha256", "review__asset__original_sha256"),
    *("review__asset__differs", "reverses__uuid", "second_of__uuid"),
)
COVERED: Final = OWN + RELATED

Row = Mapping[str, Any]


def hash_evidence(summary: Any) -> str:
    """Return the SHA-256 of a classification summary, which a decision covers.

    Without the classifiers' own words: a removal of texts clears them, and changes no outcome.
    """
    found = None if summary is None else remove_words(summary)
    return hashlib.sha256(record_keys.serialize(found)).hexdigest()


def hash_unsigned(row: Row) -> str:
    """Return the SHA-256 of a decision from before the seal, as canonical JSON."""
    content = {
        "sequence": row["sequence"],
        "previous": row["previous_hash"],
        "uuid": str(row["uuid"]),
        "review": row["review"],
        "verdict": row["verdict"],
        "categories": row["categories"],
        "note": row["note"],
        "reviewer": row["reviewer"],
        "reviewer_name": row["reviewer_name"],
        "policy": row["policy"],
        "by_policy": row["by_policy"],
        "seconds": _format_seconds(row["seconds"]),
        "reverses": row["reverses"],
        "created_at": row["created_at"].isoformat(),
    }
    # Omitted if null, so that decisions from before these columns keep their hashes.
    if row["second_of"] is not None:
        content["second_of"] = row["second_of"]
    if row["policy_in_force"] is not None:
        content["policy_in_force"] = row["policy_in_force"]
    if row["batch"] is not None:
        content["batch"] = str(row["batch"])
    if row["is_blurred"]:  # likewise omitted if false
        content["is_blurred"] = True
    return hashlib.sha256(record_keys.serialize(content)).hexdigest()


def sign(row: Row, *, event_hash: str, key_id: str) -> str:
    """Return the signature of a decision and of what it is about. Raises RecordKeyError."""
    key = record_keys.find_key(key_id)
    return sign_content(row, key=key, event=event_hash, key_id=key_id)


def sign_content(row: Row, *, key: bytes, event: str = "", key_id: str = "") -> str:
    """Return the signature of a decision and of what it is about, with a given key."""
    content = {
        "version": row["version"],
        "key": key_id,
        "event": event,
        "sequence": row["sequence"],
        "previous": row["previous_hash"],
        "uuid": str(row["uuid"]),
        "review": str(row["review__uuid"]),
        "asset": str(row["review__asset__uuid"]),
        "sha256": row["review__asset__sha256"],
        "source_sha256": row["review__asset__source_sha256"],
        "original_sha256": row["review__asset__original_sha256"],
        "differs": row["review__asset__differs"],
        "requested_by": row["review__requested_by"],
        "evidence": row["evidence"],
        "verdict": row["verdict"],
        "is_blurred": bool(row["is_blurred"]),
        "categories": row["categories"],
        "note": row["note"],
        "reviewer": row["reviewer"],
        "reviewer_name": row["reviewer_name"],
        "policy": row["policy"],
        "policy_in_force": row["policy_in_force"],
        "by_policy": row["by_policy"],
        "seconds": _format_seconds(row["seconds"]),
        "reverses": _format_uuid(row["reverses__uuid"], row["reverses"]),
        "second_of": _format_uuid(row["second_of__uuid"], row["second_of"]),
        "batch": _format_uuid(row["batch"], row["batch"]),
        "created_at": row["created_at"].isoformat(),
    }
    return record_keys.sign(content, key)


def _format_seconds(seconds: Any) -> str | None:
    return None if seconds is None else f"{Decimal(seconds):.1f}"


def _format_uuid(uuid: Any, key: Any) -> str | None:
    """Return the UUID that a foreign key stands for; a key without a row is not null."""
    return None if key is None else str(uuid)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventIndex:
    """The events of the record as a decision covers them: those before it."""

    decisions: Sequence[int] = ()  # the last decision before each event
    hashes: Sequence[str] = ()
    key_ids: Sequence[str] = ()  # in use after each event
    sealed_after: int | None = None  # the last decision of the unsigned form

    def find(self, sequence: int) -> tuple[str, str]:
        """Return the hash of the last event before a decision, and the key in use."""
        before = bisect_left(self.decisions, sequence)
        return (self.hashes[before - 1], self.key_ids[before - 1]) if before else ("", "")

    def must_be_signed(self, sequence: int) -> bool:
        return self.sealed_after is not None and sequence > self.sealed_after


@dataclass(slots=True, kw_only=True)
class ChainCheck:
    """A check of decisions in order of their sequence, and the place that it has reached."""

    after: int = 0  # the sequence of the last decision
    previous: str = ""  # its hash
    events: EventIndex = field(default_factory=EventIndex)
    faults: list[str] = field(default_factory=list)

    def read(self, row: Row) -> None:
        """Check the next decision. Raises if a value has the wrong type."""
        sequence = row["sequence"]
        expected = self.after + 1
        if sequence != expected:
            self.faults.append(f"Decision {expected} is missing: the next one is {sequence}.")
        elif row["previous_hash"] != self.previous:
            self.faults.append(f"Decision {sequence} does not follow from the one before it.")
        self.previous, self.after = row["hash"], sequence
        self._check_hash(row)

    def _check_hash(self, row: Row) -> None:
        sequence, version = row["sequence"], row["version"]
        must_be_signed = self.events.must_be_signed(sequence)
        if version != (SIGNED if must_be_signed else UNSIGNED):
            self.faults.append(
                f"Decision {sequence} is not signed, although the record is sealed."
                if version == UNSIGNED
                else f"Decision {sequence} was altered."
            )
        elif compute_hash(row, self.events) != row["hash"]:
            self.faults.append(f"Decision {sequence} was altered.")


def compute_hash(row: Row, events: EventIndex) -> str:
    """Return the hash of a decision in its form. Raises RecordKeyError."""
    if row["version"] == UNSIGNED:
        return hash_unsigned(row)
    event_hash, key_id = events.find(row["sequence"])
    return sign(row, event_hash=event_hash, key_id=key_id)

"""Import, export, search and edit hash lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import ADDITION, DELETION, LogEntry
from django.db import transaction

from generation.core.db.prepared.query import PreparedQuery
from generation.core.db.write_lock import atomic_in_turn
from generation.models import Asset, image_search
from moderation import hash_files
from moderation.hash_files import ParsedEntry
from moderation.models import Decision, HashEntry, HashEntryBand, HashList, Review, Verdict

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CHUNK = 2000
Algorithm = HashEntry.Algorithm


class HashListError(Exception):
    """An action that cannot be done. ``str(error)`` is a message for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """The numbers of an import."""

    added: int
    known: int  # were on the list already, and are unchanged

    def __str__(self) -> str:
        return f"{self.added} hashes added, {self.known} known already."


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry that matches a hash; ``distance`` is None for equal SHA-256."""

    entry: HashEntry
    distance: int | None


@atomic_in_turn()
def import_entries(
    *, hash_list: HashList, content: bytes, algorithm: str = "", user: User | None = None
) -> ImportResult:
    """Add the hashes of a file to a list: all of them, or none if one line is invalid.

    Raises HashFileError, which names the lines.
    """
    parsed = hash_files.parse_file(content, algorithm=algorithm)
    added = sum(
        len(_add(hash_list, parsed[at : at + CHUNK], user)) for at in range(0, len(parsed), CHUNK)
    )
    return ImportResult(added=added, known=len(parsed) - added)


def _add(hash_list: HashList, parsed: Sequence[ParsedEntry], user: User | None) -> list[HashEntry]:
    """Add entries that the list lacks; return them."""
    known = {
        (algorithm, bytes(value))
        for algorithm, value in HashEntry.objects.filter(
            hash_list=hash_list, value__in=[entry.value for entry in parsed]
        ).values_list("algorithm", "value")
    }
    entries = HashEntry.objects.bulk_create(
        [
            HashEntry(
                hash_list=hash_list,
                algorithm=entry.algorithm,
                value=entry.value,
                category=entry.category,
                note=entry.note,
                external_id=entry.external_id,
                added_by=user,
            )
            for entry in parsed
            if (entry.algorithm, entry.value) not in known
        ]
    )
    HashEntryBand.objects.bulk_create(
        [
            HashEntryBand(key=key, entry=entry)
            for entry in entries
            if entry.algorithm == Algorithm.PDQ
            for key in image_search.split_bands(bytes(entry.value))
        ],
        batch_size=16 * CHUNK,
    )
    return entries


def iter_csv(hash_list: HashList) -> Iterator[str]:
    """Yield a list as CSV that ``import_entries`` reads."""
    rows = HashEntry.objects.filter(hash_list=hash_list).order_by("pk")
    return hash_files.write_csv(
        {
            "hash": entry.hex,
            "algorithm": entry.algorithm,
            "category": entry.category,
            "note": entry.note,
            "external_id": entry.external_id,
        }
        for entry in rows.iterator(chunk_size=CHUNK)
    )


def search_value(value: bytes, *, within: int = image_search.WIDE) -> list[Found]:
    """Return the entries in force that match a hash, read as SHA-256 and as PDQ."""
    return [*_find_equal([value]), *_find_near(value, within)]


# Many installations use no list: one light query then replaces two.
_LIST_IN_USE = PreparedQuery(lambda: HashList.objects.filter(is_active=True).only("pk")[:1])


def search_asset(asset: Asset, *, within: int = image_search.WIDE) -> list[Found]:
    """Return the entries in force that match an image."""
    if _LIST_IN_USE.row() is None:
        return []
    found = _find_equal(list_sha256(asset))
    pdq = read_pdq(asset)
    return found + (_find_near(pdq, within) if pdq else [])


def _find_equal(values: Iterable[bytes]) -> list[Found]:
    entries = HashEntry.objects.in_force().with_value(Algorithm.SHA256, values)
    return [Found(entry=entry, distance=None) for entry in entries]


def _find_near(pdq: bytes, within: int) -> list[Found]:
    return [
        Found(entry=entry, distance=distance)
        for entry, distance in HashEntry.objects.nearest(pdq, within=within)
    ]


def list_sha256(asset: Asset) -> list[bytes]:
    """Return the SHA-256 of the stored image and of the original file."""
    return [bytes.fromhex(text) for text in dict.fromkeys((asset.sha256, asset.source_sha256))]


def read_pdq(asset: Asset) -> bytes | None:
    """Return the perceptual hash; None if it is not good enough to be compared."""
    if asset.pdq is None or asset.pdq_quality < image_search.QUALITY_MIN:
        return None
    return bytes(asset.pdq)


# --- From a decided image ---
KIND_OF_VERDICT = {
    Verdict.REJECT: HashList.Kind.BLOCK,
    Verdict.APPROVE: HashList.Kind.ALLOW,
}


def find_kind(decision: Decision | None) -> str | None:
    """Return the kind of list to which a decided image may be added; None for no list."""
    return KIND_OF_VERDICT.get(Verdict(decision.verdict)) if decision else None


@transaction.atomic
def add_asset(
    *,
    review: Review,
    hash_list: HashList,
    user: User,
    algorithms: Iterable[str],
    category: str = "",
) -> list[HashEntry]:
    """Add the hashes of a decided image to a list; return the new entries.

    A rejected image goes to a block list, an approved one to an allow list.

    Raises HashListError.
    """
    asset, chosen = review.asset, set(algorithms)
    decision = Decision.objects.map_last_effective([review.pk]).get(review.pk)
    if not review.is_decided or hash_list.kind != find_kind(decision) or decision is None:
        raise HashListError(
            "A rejected image can be added to a block list, an approved one to an allow list."
        )
    if category and category not in decision.categories:
        raise HashListError("Choose one of the categories of the decision.")
    values = [(Algorithm.SHA256, value) for value in list_sha256(asset)]
    if pdq := read_pdq(asset):
        values.append((Algorithm.PDQ, pdq))
    parsed = [
        ParsedEntry(
            value=value,
            algorithm=algorithm,
            category=category,
            note=f"Image {asset.short_id}, {decision.past_tense} by {decision.author}"[
                : hash_files.NOTE_MAX
            ],
            external_id=str(asset.uuid),
        )
        for algorithm, value in values
        if algorithm in chosen
    ]
    if not parsed:
        raise HashListError("Choose at least one hash that this image has.")
    added = _add(hash_list, parsed, user)
    _log(user, added, ADDITION, f"Added to “{hash_list}” from image {asset.short_id}.")
    return added


@transaction.atomic
def remove_entry(*, entry: HashEntry, user: User) -> None:
    """Remove an entry from its list."""
    _log(user, [entry], DELETION, f"Removed from “{entry.hash_list}”.")
    entry.delete()


def _log(user: User, entries: Sequence[HashEntry], action: int, message: str) -> None:
    if entries:
        manager: Any = LogEntry.objects
        manager.log_actions(user.pk, entries, action, change_message=message)

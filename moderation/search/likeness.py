"""Search by likeness: compare the embedding of an image, or of words, with all others.

The vectors are copied from the database into one file per encoder version, which all processes of a
host map into memory. The file only speeds up the search: every search reads the rows that are
newer, and takes the results' vectors from the database again. It can be deleted at any time.

Vectors of removed images are erased in it at each use, and once an hour by the worker.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.utils import timezone
from numpy.typing import NDArray

from generation.models import Asset
from moderation.classifiers import encoders
from moderation.classifiers.base import ClassifierError
from moderation.models import Embedding

# Of a search, for copying new rows. A search of what has been copied by then says so.
COPY_SECONDS = 5.0
CHUNK = 500  # rows read at once: 1.3 MB
BLOCK = 4096  # vectors compared at once: they fit into the processor's cache as 32-bit numbers
# Rows become visible in another order than that of ``finished_at``, but not this much later.
OVERLAP = timedelta(minutes=5)
TAIL = 100_000  # records among which those of the overlap are
ERASED_UNTIL = ".erased"  # file with the time until which removals are known
ERASED = 0  # in place of the asset of an erased record; no row has this key
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class NotEmbeddedError(Exception):
    """There is no embedding to search with. ``str(error)`` is a message for people."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Assets by descending similarity (cosine, at most 1), without an image searched with."""

    similarities: dict[int, float]
    is_complete: bool  # False: not all images have been copied yet


def find_alike(asset: Asset, *, since: int, before: int, limit: int) -> Alike:
    """Return the most similar assets with ids in a range. Raises NotEmbeddedError."""
    encoder = encoders.get_active()
    if encoder is None:
        raise NotEmbeddedError("No encoder is in use on this server (ENCODER).")
    rows = Embedding.objects.filter(encoder_version=encoder.version, vector__isnull=False)
    vector = rows.filter(asset=asset).values_list("vector", flat=True).first()
    if vector is None:
        raise NotEmbeddedError(
            "This image has not been embedded yet, so it cannot be compared with others."
        )
    wanted = encoders.unpack(vector)
    return _find(encoder, wanted, since=since, before=before, limit=limit, besides=asset.pk)


def knows_words() -> bool:
    """Return whether the encoder in use can compare images with words."""
    return isinstance(encoders.get_active(), encoders.TextEncoder)


def find_by_words(words: str, *, since: int, before: int, limit: int) -> Alike:
    """Return the assets nearest to words, with ids in a range. Raises NotEmbeddedError."""
    encoder = encoders.get_active()
    if not isinstance(encoder, encoders.TextEncoder):
        raise NotEmbeddedError(
            "Searching by looks: needs an image-text model as the encoder (ENCODER), and this"
            " server uses none."
        )
    try:
        wanted = encoder.encode_text(words)
    except ClassifierError as error:
        raise NotEmbeddedError(str(error)) from None
    return _find(encoder, wanted, since=since, before=before, limit=limit)


def _find(
    encoder: encoders.Encoder,
    wanted: encoders.Vector,
    *,
    since: int,
    before: int,
    limit: int,
    besides: int | None = None,
) -> Alike:
    rows = Embedding.objects.filter(encoder_version=encoder.version, vector__isnull=False)
    copy = _Copy(encoder)
    is_complete = copy.update(time.monotonic() + COPY_SECONDS)
    nearest = copy.find_nearest(wanted, since=since, before=before, limit=limit + 1)
    # The database has the last word: images may be gone, or a vector may have changed.
    found = {
        pk: float(encoders.unpack(stored) @ wanted)
        for pk, stored in rows.filter(asset__in=nearest).values_list("asset_id", "vector")
        if pk != besides
    }
    ordered = sorted(found.items(), key=lambda item: (-item[1], -item[0]))
    return Alike(dict(ordered[:limit]), is_complete)


def iter_blocks(
    encoder: encoders.Encoder,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield asset ids and vectors of all embeddings, after copying all new ones."""
    copy = _Copy(encoder)
    copy.update(float("inf"))
    yield from copy.iter_blocks()


def erase_removed() -> None:
    """Erase the vectors of removed images on this host, and the files of encoders not in use."""
    encoder = encoders.get_active()
    copy = _Copy(encoder) if encoder is not None else None
    for path in _get_folder().glob("*.vectors"):
        if copy is None or path != copy.path:
            path.unlink(missing_ok=True)
            path.with_suffix(ERASED_UNTIL).unlink(missing_ok=True)
    if copy is not None and copy.path.exists():
        copy.erase_removed()


class _Copy:
    """The file of one encoder version: records of asset id, time and vector, oldest first."""

    def __init__(self, encoder: encoders.Encoder) -> None:
        self._rows = Embedding.objects.filter(
            encoder_version=encoder.version, finished_at__isnull=False
        )
        self.path = _get_folder() / f"{encoder.version}.vectors"
        self._dtype = np.dtype(
            [("asset", "<i8"), ("finished", "<i8"), ("vector", encoders.STORED, encoder.dim)]
        )

    def update(self, deadline: float) -> bool:
        """Append new rows; return False if the time, of the monotonic clock, was too short."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            known = self._read()
            # A process that was killed may have left a part of a record.
            file.truncate(len(known) * self._dtype.itemsize)
            file.seek(0, 2)
            for rows in self._iter_new(known):
                if time.monotonic() > deadline:
                    return False
                file.write(self._build(rows).tobytes())
            return True

    def erase_removed(self) -> None:
        """Erase the vectors of images that were removed since this was done last."""
        with self._locked():
            pass

    def iter_blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield asset ids and vectors, BLOCK at a time."""
        records = self._read()
        for start in range(0, len(records), BLOCK):
            block = records[start : start + BLOCK]
            block = block[block["asset"] != ERASED]
            yield np.array(block["asset"]), block["vector"].astype(np.float32)

    def find_nearest(
        self, wanted: encoders.Vector, *, since: int, before: int, limit: int
    ) -> list[int]:
        """Return the assets with the highest cosines, in any order."""
        records = self._read()
        if not len(records):
            return []
        scores = np.empty(len(records), np.float32)
        for start in range(0, len(records), BLOCK):
            block = records["vector"][start : start + BLOCK].astype(np.float32)
            scores[start : start + BLOCK] = block @ wanted
        assets = np.array(records["asset"])
        scores[(assets < since) | (assets >= before) | (assets == ERASED)] = -np.inf
        top = np.argpartition(-scores, min(limit, len(scores)) - 1)[:limit]
        return [int(assets[index]) for index in top if np.isfinite(scores[index])]

    def _read(self) -> NDArray[Any]:
        size = self.path.stat().st_size // self._dtype.itemsize
        if not size:
            return np.empty(0, self._dtype)
        return np.memmap(self.path, self._dtype, "r", shape=(size,))

    def _erase_removed(self) -> bool:
        """Overwrite the records in place; return False if most of the file is erased by now.

        Other processes read the file meanwhile: it can neither be cut nor moved together.
        """
        mark, now = self.path.with_suffix(ERASED_UNTIL), timezone.now()
        rows = Asset.objects.filter(purged_at__gte=_read_moment(mark))
        removed = list(rows.values_list("pk", flat=True))
        if not removed:
            return True
        is_kept = True
        if size := len(self._read()):
            records = np.memmap(self.path, self._dtype, "r+", shape=(size,))
            found = np.isin(records["asset"], removed)
            records["vector"][found] = 0
            records["asset"][found] = ERASED
            records.flush()
            is_kept = int(np.count_nonzero(records["asset"] == ERASED)) * 2 <= size
        mark.write_text((now - OVERLAP).isoformat())
        return is_kept

    def _is_of_this_database(self, known: NDArray[Any]) -> bool:
        first = self._rows.order_by("finished_at", "pk").values_list("asset_id", "finished_at")
        found = first.first()
        if found is None or found[1] is None:
            return False
        for start in range(0, len(known), BLOCK):
            block = known[start : start + BLOCK]
            left = block[block["asset"] != ERASED]
            if len(left):
                return bool(
                    left[0]["asset"] == found[0] and left[0]["finished"] == _to_number(found[1])
                )
        return False

    def _iter_new(self, known: NDArray[Any]) -> Iterator[list[Any]]:
        """Yield chunks of rows that are not in the file yet, the oldest first."""
        rows = self._rows.order_by("finished_at", "pk")
        seen: set[int] = set()
        if len(known):
            last = known[-TAIL:]
            since = int(last["finished"].max()) - _to_number(_EPOCH + OVERLAP)
            seen = {int(pk) for pk in last["asset"][last["finished"] >= since]}
            rows = rows.filter(finished_at__gte=_EPOCH + timedelta(microseconds=since))
        new = [
            pk for pk, asset in rows.values_list("pk", "asset_id").iterator() if asset not in seen
        ]
        for start in range(0, len(new), CHUNK):
            chunk = self._rows.filter(pk__in=new[start : start + CHUNK])
            yield list(
                chunk.order_by("finished_at", "pk").values_list("asset_id", "finished_at", "vector")
            )

    def _build(self, rows: list[Any]) -> NDArray[Any]:
        records = np.empty(len(rows), self._dtype)
        records["asset"] = [asset for asset, _, _ in rows]
        records["finished"] = [_to_number(finished) for _, finished, _ in rows]
        vectors = b"".join(bytes(vector) for _, _, vector in rows)
        records["vector"] = np.frombuffer(vectors, encoders.STORED).reshape(len(rows), -1)
        return records

    @contextmanager
    def _locked(self) -> Iterator[Any]:
        """Open the file for appending; only one process writes at a time.

        The file of another database is replaced. Cutting it would kill a process that reads it.
        """
        while True:
            with self.path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not self._is_current(file):
                    continue
                is_kept = self._erase_removed()
                known = self._read()
                if not is_kept or (len(known) and not self._is_of_this_database(known)):
                    self.path.unlink()
                    continue
                yield file
                return

    def _is_current(self, file: Any) -> bool:
        """Return whether nobody replaced the file while this process waited for its lock."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def _get_folder() -> Path:
    return Path(settings.DATA_DIR) / "cache" / "embeddings"


def _read_moment(path: Path) -> datetime:
    try:
        return datetime.fromisoformat(path.read_text())
    except (FileNotFoundError, ValueError):
        return _EPOCH


def _to_number(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)

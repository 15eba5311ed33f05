"""Comparison of the stored image files with their rows: missing, altered and orphaned files.

Works through the 256 folders of each kind, so neither rows nor names need to fit into memory.
Storages list their files in the order of their names.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from generation.core.storage import FOLDERS, StoredFile, get_asset_storage, view_name
from generation.models import Asset

SHARDS = tuple(f"{number:02x}" for number in range(256))
_PIECE = 1024 * 1024
_THREADS = 4  # files read at the same time: a bucket takes a while for each
_EDGE = 12  # bytes at the beginning and the end that show whether a file is whole


class Fault(StrEnum):
    MISSING = "missing"
    ALTERED = "altered"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A file that is not as its row says."""

    fault: Fault
    name: str
    asset: Asset | None = None  # one that has the file; None for an orphaned file


@dataclass(slots=True)
class Findings:
    """Names of files, by fault."""

    checked: int = 0
    missing: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        names = {
            Fault.MISSING: self.missing,
            Fault.ALTERED: self.altered,
            Fault.ORPHANED: self.orphaned,
        }
        names[finding.fault].append(finding.name)


def verify_files() -> Findings:
    """Read every stored file and compare it with the rows. Raises OSError."""
    found = Findings()
    for _, findings in iter_shards(found):
        for finding in findings:
            found.add(finding)
    return found


def iter_shards(
    counts: Findings, *, is_quick: bool = False
) -> Iterator[tuple[int, Iterator[Finding]]]:
    """Compare all files with their rows; return the number of folders done before, and findings.

    ``is_quick``: list files, and read none of them. Raises OSError if the storage fails.
    """
    files = get_asset_storage()
    stored = heapq.merge(*map(files.iter_files, FOLDERS), key=_find_shard)
    groups = groupby(stored, key=_find_shard)
    group = next(groups, None)
    for number, shard in enumerate(SHARDS):
        names: set[str] = set()
        # A name that Loupe does not write is in a group of its own.
        while group is not None and (group[0] <= shard or shard == SHARDS[-1]):
            names.update(file.name for file in group[1])
            group = next(groups, None)
        yield number, _check_shard(shard, names, counts, is_quick)


def _find_shard(file: StoredFile) -> str:
    return file.name.split("/")[1]


def _check_shard(
    shard: str, stored: set[str], counts: Findings, is_quick: bool
) -> Iterator[Finding]:
    """Compare the files whose hashes begin with these two digits with their rows."""
    expected: dict[str, tuple[Asset, str]] = {}
    for asset in _iter_assets(shard):
        for name, sha256 in list_files(asset):
            if name.split("/")[1] == shard:
                expected[name] = (asset, sha256)
    counts.checked += len(expected)
    # Written since, or deleted on purpose since, together with its row's column.
    found = [
        Finding(fault=Fault.MISSING, name=name, asset=expected[name][0])
        for name in expected.keys() - stored
        if not get_asset_storage().exists(name) and is_known(name)
    ]
    if not is_quick:
        found += _find_altered(list(expected.keys() & stored), expected)
    yield from sorted(found, key=attrgetter("name"))  # a rendition before its thumbnail
    for name in sorted(stored - expected.keys()):
        if not is_known(name):
            yield Finding(fault=Fault.ORPHANED, name=name)


def _iter_assets(shard: str) -> Iterator[Asset]:
    """Return the assets with a file in these folders: "g" follows all hexadecimal digits."""
    limits = {"gte": shard, "lt": f"{shard}g"}
    rows = Asset.objects.with_files().order_by("pk")
    by_rendition = {f"sha256__{name}": value for name, value in limits.items()}
    by_original = {f"original_sha256__{name}": value for name, value in limits.items()}
    yield from rows.filter(**by_rendition).iterator()
    yield from rows.with_original().filter(**by_original).iterator()


def _find_altered(names: list[str], expected: dict[str, tuple[Asset, str]]) -> Iterator[Finding]:
    with ThreadPoolExecutor(_THREADS) as threads:
        for name, fault in zip(
            names, threads.map(lambda name: find_fault(name, expected[name][1]), names), strict=True
        ):
            if fault is not None and is_known(name):
                yield Finding(fault=fault, name=name, asset=expected[name][0])


def list_files(asset: Asset) -> list[tuple[str, str]]:
    """Return the names of an asset's files, with their SHA-256 where the row has it."""
    files = [(str(asset.rendition.name), asset.sha256), (str(asset.thumbnail.name), "")]
    if asset.original:
        files.append((str(asset.original.name), asset.original_sha256))
        files += [(view_name(asset.original_sha256, kind), "") for kind in asset.views]
    return files


def check_files(assets: Iterable[Asset]) -> Findings:
    """Read the files of some assets and compare them with the rows. Raises OSError."""
    found = Findings()
    for asset in assets:
        for name, sha256 in list_files(asset):
            found.checked += 1
            if fault := find_fault(name, sha256):
                found.add(Finding(fault=fault, name=name, asset=asset))
    return found


def find_fault(name: str, sha256: str) -> Fault | None:
    """Read a file; return what is wrong with it. Raises OSError."""
    digest, size, head, tail = hashlib.sha256(), 0, b"", b""
    try:
        with get_asset_storage().open(name) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                head, tail = (head + piece)[:_EDGE], (tail + piece)[-_EDGE:]
    except FileNotFoundError:
        return Fault.MISSING
    is_right = digest.hexdigest() == sha256 if sha256 else _is_whole(name, size, head, tail)
    return None if is_right else Fault.ALTERED


def _is_whole(name: str, size: int, head: bytes, tail: bytes) -> bool:
    """Return whether a file without a known hash has the ends and the length of its format."""
    if name.endswith(".webp"):
        length = 8 + int.from_bytes(head[4:8], "little")
        return head[:4] == b"RIFF" and head[8:] == b"WEBP" and length == size
    if name.endswith(".png"):
        return head.startswith(b"\x89PNG") and tail[4:8] == b"IEND"
    return head.startswith(b"\xff\xd8") and tail.endswith(b"\xff\xd9")


def is_known(name: str) -> bool:
    """Return whether a row has this file. All names contain an indexed SHA-256."""
    folder, _, file = name.partition("/")
    sha256, _, kind = file.rpartition("/")[2].partition(".")
    kind = kind.partition(".")[0]
    if folder in ("renditions", "thumbnails", "blurred"):
        return Asset.objects.with_files().filter(sha256=sha256).exists()
    rows = Asset.objects.with_files().with_original().filter(original_sha256=sha256)
    return any(
        folder == "originals" or kind in views for views in rows.values_list("views", flat=True)
    )

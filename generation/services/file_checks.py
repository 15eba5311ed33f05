"""Comparison of the stored image files with their rows: missing, altered and orphaned files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.core.files.storage import storages

from generation.core.storage import FOLDERS, view_name
from generation.models import Asset

_CHUNK = 500
_PIECE = 1024 * 1024


@dataclass(slots=True)
class Findings:
    """Names of files, by fault."""

    checked: int = 0
    missing: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)


def verify_files() -> Findings:
    """Read every stored file and compare it with the rows.

    An import that runs meanwhile has written files before its row: check such orphans again.
    """
    found = Findings()
    for asset in Asset.objects.with_files().order_by("pk").iterator(chunk_size=_CHUNK):
        for name, sha256 in list_files(asset):
            found.checked += 1
            _check_file(name, sha256, found)
    found.orphaned = [name for name in _iter_stored() if not _is_known(name)]
    return found


def list_files(asset: Asset) -> list[tuple[str, str]]:
    """Return the names of an asset's files, with their SHA-256 where the row has it."""
    files = [(str(asset.rendition.name), asset.sha256), (str(asset.thumbnail.name), "")]
    if asset.original:
        files.append((str(asset.original.name), asset.original_sha256))
        files += [(view_name(asset.original_sha256, kind), "") for kind in asset.views]
    return files


def _check_file(name: str, sha256: str, found: Findings) -> None:
    digest, size = hashlib.sha256(), 0
    try:
        with storages["assets"].open(name) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
    except FileNotFoundError:
        found.missing.append(name)
        return
    if not size or (sha256 and digest.hexdigest() != sha256):
        found.altered.append(name)


def _iter_stored() -> Iterator[str]:
    files = storages["assets"]
    for folder in FOLDERS:
        if not files.exists(folder):
            continue
        for part in files.listdir(folder)[0]:
            yield from (f"{folder}/{part}/{name}" for name in files.listdir(f"{folder}/{part}")[1])


def _is_known(name: str) -> bool:
    """Return whether a row has this file. All names contain an indexed SHA-256."""
    folder, _, file = name.split("/")
    sha256, kind = file.split(".")[:2]
    if folder in ("renditions", "thumbnails", "blurred"):
        return Asset.objects.with_files().filter(sha256=sha256).exists()
    rows = Asset.objects.with_files().with_original().filter(original_sha256=sha256)
    return any(
        folder == "originals" or kind in views for views in rows.values_list("views", flat=True)
    )

"""Removal of images for good: the files go, the row stays as a tombstone with its hash.

Marking an image is one transaction of the caller, who has checked that it may go. Then the purge
list is written, and the files are deleted: only those that no other image needs. The last step
clears their names, so a killed worker leaves a tombstone with names, and the next run finishes it.

The purge list is kept with the files, outside of the database. A backup that is restored is older
than it, and what was removed stays removed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from generation.core.storage import (
    DurableFileSystemStorage,
    StorageUnavailableError,
    blurred_name,
    purge_list_name,
)
from generation.core.uuid7 import make_uuid7
from generation.models import Asset, AssetText, GenerationRequest, HashBand, OriginalProblem
from generation.services import storage_checks
from generation.services.file_checks import list_files

log = logging.getLogger("loupe.purging")

FILES, TEXTS, HASHES = "files", "texts", "hashes"
# 8 by 8 grey pixels: pages show it in place of the preview.
GREY = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR42mNo"
    "gAIGyhgAgIQgARDoahcAAAAASUVORK5CYII="
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The reason of a removal, and what goes besides the files."""

    reason: str
    has_texts: bool = False
    has_hashes: bool = False
    at: datetime | None = None  # of a removal that is repeated after a restore

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Extent:
        """Return the extent of a line of the purge list."""
        parts = entry.get("parts", ())
        return cls(
            reason=str(entry.get("reason", "")),
            has_texts=TEXTS in parts,
            has_hashes=HASHES in parts,
            at=parse_datetime(str(entry.get("purged_at", ""))),
        )

    @property
    def parts(self) -> str:
        return ",".join([FILES, *([TEXTS] * self.has_texts), *([HASHES] * self.has_hashes)])


def mark_purged(assets: Sequence[Asset], extent: Extent) -> int:
    """Turn images into tombstones; return their number. ``finish`` then deletes their files.

    The caller holds the rows' locks in a transaction.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("Check and removal are one transaction.")
    pks = [asset.pk for asset in assets]
    changes: dict[str, Any] = {
        "purged_at": extent.at or timezone.now(),
        "purge_reason": extent.reason[:300],
        "purged_parts": extent.parts,
        "preview": GREY,
    }
    if extent.has_hashes:
        changes |= {"pdq": None, "pdq_quality": 0}
        HashBand.objects.filter(asset__in=pks).delete()
    marked = Asset.objects.filter(pk__in=pks, purged_at__isnull=True).update(**changes)
    if extent.has_texts:
        _purge_texts(pks)
    return marked


def _purge_texts(pks: Sequence[int]) -> None:
    """Remove the texts of tombstones, and of requests whose images are all removed."""
    AssetText.objects.filter(asset__in=pks).delete()
    Asset.objects.filter(pk__in=pks).update(
        original_name="", metadata={}, provider_url="", end_user=""
    )
    kept = Asset.objects.filter(request=OuterRef("pk"), purged_at__isnull=True)
    rows = GenerationRequest.objects.filter(~Exists(kept), assets__in=pks)
    purge_request_texts(rows.values_list("pk", flat=True).distinct())


def purge_request_texts(pks: Iterable[int]) -> int:
    """Remove the prompts, raw answers and end users of finished requests; return their number."""
    rows = GenerationRequest.objects.filter(pk__in=list(pks), status__in=GenerationRequest.FINISHED)
    return int(
        rows.update(
            prompt="",
            negative_prompt="",
            submit_answer="",
            result=None,
            end_user="",
            callback_url="",
        )
    )


def count_unfinished() -> int:
    return int(_find_unfinished().count())


def _find_unfinished() -> Any:
    return Asset.objects.filter(purged_at__isnull=False).exclude(thumbnail="")


def finish(limit: int) -> int:
    """Delete the files of up to ``limit`` tombstones; return the number of tombstones.

    Raises StorageUnavailableError; the tombstones then wait for the next run.
    """
    rows = list(_find_unfinished().select_related("request").order_by("pk")[:limit])
    if not rows:
        return 0
    try:
        _append_to_list(_describe(asset) for asset in rows)
        for asset in rows:
            _delete_files(asset)
    except OSError as error:
        raise StorageUnavailableError(storage_checks.explain_error(error)) from error
    done = Asset.objects.filter(pk__in=[asset.pk for asset in rows])
    done.exclude(original_sha256="").update(original_problem=OriginalProblem.PURGED)
    # Last, because an image without names counts as finished.
    done.update(rendition="", thumbnail="", original="", views=[])
    return len(rows)


# --- Files ---
def list_stored_files(asset: Asset) -> list[str]:
    """Return the names of an image's files, and of its blurred form, which may not be stored."""
    names = [name for name, _ in list_files(asset)]
    with suppress(ValueError):  # no type that has a blurred form
        names.append(blurred_name(asset.sha256, asset.image_type))
    return [name for name in names if name]


def _delete_files(asset: Asset) -> None:
    """Delete the files that no other image needs.

    Looks again after each deletion, and writes a file back if a row that needs it appeared: the
    row's writer may have found the file in place, and looks once more after its commit.
    """
    files = storages["assets"]
    for name in list_stored_files(asset):
        if is_needed(asset, name) or not files.exists(name):
            continue
        with files.open(name) as file:
            content = file.read()
        files.delete(name)
        if is_needed(asset, name):
            files.save(name, ContentFile(content))


def is_needed(asset: Asset, name: str) -> bool:
    """Return whether a stored image has this file: files are named by their content."""
    others = Asset.objects.with_files().exclude(pk=asset.pk)
    if name.partition("/")[0] in ("originals", "views"):
        return others.with_original().filter(original_sha256=asset.original_sha256).exists()
    return others.filter(sha256=asset.sha256).exists()


# --- The purge list ---
def _describe(asset: Asset) -> dict[str, Any]:
    return {
        "asset": str(asset.uuid),
        "sha256": asset.sha256,
        "purged_at": asset.purged_at.isoformat() if asset.purged_at else "",
        "reason": asset.purge_reason,
        "parts": asset.purged_parts.split(","),
        "files": list_stored_files(asset),
    }


def list_requests(requests: Iterable[GenerationRequest]) -> None:
    """Note requests whose texts were removed. Raises StorageUnavailableError."""
    entries = [{"request": str(request.uuid), "parts": [TEXTS]} for request in requests]
    if not entries:
        return
    try:
        _append_to_list(entries)
    except OSError as error:
        raise StorageUnavailableError(storage_checks.explain_error(error)) from error


def _append_to_list(entries: Iterable[dict[str, Any]]) -> None:
    """Write a new part of the purge list: into the storage, and where PURGE_LIST says."""
    text = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in entries)
    name = purge_list_name(str(make_uuid7()))
    storages["assets"].save(name, ContentFile(text.encode()))
    if settings.PURGE_LIST is not None:
        # Written like an image, so it survives a power failure before the first file is deleted.
        second = DurableFileSystemStorage(location=settings.PURGE_LIST)
        second.save(PurePosixPath(name).name, ContentFile(text.encode()))


def read_purge_list(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a folder of purge lists, in order of time.

    Raises ValueError with the name of a file that cannot be read.
    """
    for path in sorted(folder.glob("*.jsonl")):
        yield from read_lines(path)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of one purge list. Raises ValueError."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not entry.keys() & {"asset", "request"}:
                raise ValueError("neither an asset nor a request")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, cannot be read: {error}.") from error
        yield entry


def find_by_end_user(end_user: str) -> Q:
    """Return the condition on images that belong to an end user."""
    return Q(end_user=end_user) | Q(request__end_user=end_user)

"""Repair of missing and altered image files from the others, and removal of orphaned files.

A file is only replaced by what its row describes: a rendition must have the SHA-256 that the
classifiers and people saw.
"""

from __future__ import annotations

from django.core.files.base import ContentFile

from generation import imaging
from generation.core.storage import get_asset_storage, original_file_name
from generation.models import Asset
from generation.services.file_checks import Fault, Finding, find_fault, is_known


class NotRepairableError(Exception):
    """The file cannot be made again; ``str(error)`` says why."""


def repair(finding: Finding) -> None:
    """Make a missing or altered file again.

    Raises NotRepairableError; OSError or DecoderUnavailableError for faults of the machine.
    """
    assert finding.asset is not None
    try:
        content = _make_again(finding.name, finding.asset)
    except imaging.UnreadableImageError as error:
        raise NotRepairableError(f"the file that it is made of is refused: {error}") from error
    files = get_asset_storage()
    if finding.fault is Fault.ALTERED:
        files.delete(finding.name)  # a file of the same size would be kept
    files.save(finding.name, ContentFile(content))


def _make_again(name: str, asset: Asset) -> bytes:
    folder, _, file = name.split("/")
    if folder == "thumbnails":
        return imaging.render(_read(str(asset.rendition.name), asset.sha256)).thumbnail
    if folder == "originals":
        raise NotRepairableError("nothing else contains the bytes of an original")
    if not asset.original:
        raise NotRepairableError("no original is kept that it could be made of")
    name = original_file_name(asset.original_sha256, asset.original_type)
    made = imaging.render(_read(name, asset.original_sha256))
    if folder == "views":
        kind = file.split(".")[1]
        if kind not in made.views:
            raise NotRepairableError("the original does not give this view any more")
        return made.views[kind]
    if made.sha256 != asset.sha256:
        raise NotRepairableError("the original gives another rendition today than it did then")
    return made.content


def _read(name: str, sha256: str) -> bytes:
    if find_fault(name, sha256) is not None:
        raise NotRepairableError(f"{name}, which it is made of, is missing or altered")
    with get_asset_storage().open(name) as file:
        return bytes(file.read())


def delete_orphan(name: str, *, older_than_seconds: float) -> bool:
    """Delete a file without a row that was last written this long ago; return whether it was.

    Imports write files before the row.
    """
    return not is_known(name) and get_asset_storage().delete_unused(name, older_than_seconds)

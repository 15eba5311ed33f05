"""The blurred form of a rendition, rendered when it is first needed and then kept."""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db.models.fields.files import FieldFile

from generation import imaging
from generation.core.storage import StorageUnavailableError, blurred_name
from generation.models import Asset
from generation.services import storage_checks


def get_blurred_file(asset: Asset) -> FieldFile:
    """Return the asset's blurred file, which may not be stored yet."""
    name = blurred_name(asset.sha256, asset.image_type)
    return FieldFile(asset, asset._meta.get_field("rendition"), name)


def find_size(file: FieldFile) -> int:
    """Return the bytes of a blurred file; 0 if it is not stored yet."""
    try:
        return file.size
    except OSError:
        return 0


def store_blurred(asset: Asset) -> None:
    """Render and store the blurred file, if it is not stored yet.

    Idempotent: the same rendition gives the same file under the same name. Raises OSError if the
    rendition cannot be read; UnreadableImageError, DecoderUnavailableError or
    StorageUnavailableError if the blurred file cannot be made or written now.
    """
    file = get_blurred_file(asset)
    if file.storage.exists(str(file.name)):
        return
    with asset.rendition.open("rb") as rendition:
        content = rendition.read()
    blurred = imaging.blur(content)
    try:
        storages["assets"].save(str(file.name), ContentFile(blurred.content))
    except OSError as error:
        raise StorageUnavailableError(storage_checks.explain_error(error)) from error

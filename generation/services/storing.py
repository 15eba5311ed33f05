"""From bytes to a stored asset: file before row, row and signal in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import IntegrityError, transaction

from generation import imaging
from generation.core.storage import StorageUnavailableError, asset_name, thumbnail_name
from generation.models import Asset, AssetText, GenerationRequest, HashBand, Source
from generation.services import storage_checks
from generation.signals import asset_stored


class AlreadyStoredError(Exception):
    """This very image is here already."""

    def __init__(self, asset: Asset) -> None:
        self.asset = asset
        super().__init__(f"Already stored as asset {asset.short_id}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an asset came from, as far as it is known."""

    source: Source
    request: GenerationRequest | None = None
    position: int | None = None
    original_name: str = ""
    provider_url: str = ""  # without its query, which holds the signature
    url_expires_at: datetime | None = None
    detection: dict[str, Any] | None = None
    detection_level: int | None = None
    stored_by_id: int | None = None
    api_key_id: int | None = None  # of the program that sent it; a request brings its own
    external_id: str = ""  # the source's own name for it; stored once per source
    seed: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)  # laid over what the file itself says


def store_rendition(*, rendition: imaging.Rendition, origin: Origin) -> Asset:
    """Write the files, then the row, and tell moderation; either all of it or none.

    The files are named by their content, so doing it twice (after a crash in between) writes the
    same files again. Raises AlreadyStored if the row exists, StorageUnavailableError if the files
    cannot be written now.
    """
    name = asset_name(rendition.sha256, rendition.image_type)
    thumbnail = thumbnail_name(rendition.sha256)
    _write_files({name: rendition.content, thumbnail: rendition.thumbnail})
    try:
        with transaction.atomic():
            asset = Asset.objects.create(
                rendition=name,
                thumbnail=thumbnail,
                **_pixels(rendition),
                **_provenance(rendition, origin),
            )
            HashBand.store(asset)
            AssetText.store(asset, prompt=_prompt(origin))
            asset_stored.send(sender=Asset, asset=asset)
    except IntegrityError:
        existing = _existing(rendition, origin)
        if existing is None:
            raise
        raise AlreadyStoredError(existing) from None
    return asset


def _write_files(contents: Mapping[str, bytes]) -> None:
    files = storages["assets"]
    try:
        storage_checks.ensure_room(sum(len(content) for content in contents.values()))
        for name, content in contents.items():
            files.save(name, ContentFile(content))
    except StorageUnavailableError:
        raise
    except (
        Exception
    ) as error:  # the clients of object stores raise errors of their own; none is about the image
        raise StorageUnavailableError(storage_checks.explain(error)) from error


def import_file(*, content: bytes, name: str, user_id: int | None = None) -> Asset:
    """Store a file somebody brought along.

    Raises imaging.Unreadable or AlreadyStored; imaging.DecoderUnavailable or
    StorageUnavailableError, which say nothing about the file.
    """
    rendition = imaging.render(content)
    origin = Origin(source=Source.UPLOAD, original_name=name[:255], stored_by_id=user_id)
    existing = _existing(rendition, origin)
    if existing is not None:
        raise AlreadyStoredError(existing)
    return store_rendition(rendition=rendition, origin=origin)


def _pixels(rendition: imaging.Rendition) -> dict[str, Any]:
    return {
        "image_type": rendition.image_type,
        "width": rendition.width,
        "height": rendition.height,
        "size": len(rendition.content),
        "sha256": rendition.sha256,
        "pdq": rendition.pdq,
        "pdq_quality": rendition.pdq_quality,
        "preview": rendition.preview,
    }


def _provenance(rendition: imaging.Rendition, origin: Origin) -> dict[str, Any]:
    return {
        "source": origin.source,
        "request": origin.request,
        "position": origin.position,
        "source_type": rendition.source_type,
        "source_sha256": rendition.source_sha256,
        "source_bytes": rendition.source_bytes,
        "frames": rendition.frames,
        "original_name": origin.original_name,
        "provider_url": origin.provider_url,
        "url_expires_at": origin.url_expires_at,
        "detection": origin.detection,
        "detection_level": origin.detection_level,
        "stored_by_id": origin.stored_by_id,
        "api_key_id": origin.request.api_key_id if origin.request else origin.api_key_id,
        "external_id": origin.external_id,
        "seed": origin.seed,
        "metadata": {**rendition.metadata, **origin.metadata},
    }


def _prompt(origin: Origin) -> str:
    if origin.request is not None:
        return origin.request.prompt
    elsewhere = origin.metadata.get("scenario")
    return str(elsewhere.get("prompt", "")) if isinstance(elsewhere, dict) else ""


def _existing(rendition: imaging.Rendition, origin: Origin) -> Asset | None:
    if origin.request is not None:
        return Asset.objects.filter(request=origin.request, position=origin.position).first()
    if origin.external_id:
        return Asset.objects.filter(source=origin.source, external_id=origin.external_id).first()
    return Asset.objects.filter(source=origin.source, source_sha256=rendition.source_sha256).first()

"""Storage of images as assets: files first, then row and signal in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import IntegrityError, transaction

from generation import imaging
from generation.core.db.prepared.query import PreparedQuery
from generation.core.storage import (
    StorageUnavailableError,
    asset_name,
    original_file_name,
    thumbnail_name,
    view_name,
)
from generation.models import (
    Asset,
    AssetText,
    GenerationRequest,
    HashBand,
    OriginalProblem,
    Source,
)
from generation.services import storage_checks
from generation.signals import asset_stored

NEVER = timedelta(0)  # value of the setting ORIGINALS


class AlreadyStoredError(Exception):
    """The image is already stored, or was and has been removed for good."""

    def __init__(self, asset: Asset) -> None:
        self.asset = asset
        gone = f" Its files were removed on {asset.purged_at:%Y-%m-%d}." if asset.purged_at else ""
        super().__init__(f"Already stored as asset {asset.short_id}.{gone}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The known origin of an asset."""

    source: Source
    request: GenerationRequest | None = None
    position: int | None = None
    original_name: str = ""
    provider_url: str = ""  # without the query string, which holds the signature
    url_expires_at: datetime | None = None
    detection: dict[str, Any] | None = None
    detection_level: int | None = None
    stored_by_id: int | None = None
    api_key_id: int | None = None  # key of the program that uploaded it; a request has its own
    external_id: str = ""  # the source's ID; unique per source
    seed: int | None = None
    end_user: str = ""  # a request has its own
    metadata: Mapping[str, Any] = field(default_factory=dict)  # overrides the metadata of the file


def store_rendition(*, rendition: imaging.Rendition, origin: Origin) -> Asset:
    """Write the files, create the row and send ``asset_stored``; all or nothing.

    Idempotent: file names derive from the content, so a repetition after a crash writes the
    same files. Raises AlreadyStoredError if the row exists, StorageUnavailableError if the
    files cannot be written now.
    """
    name = asset_name(rendition.sha256, rendition.image_type)
    thumbnail = thumbnail_name(rendition.sha256)
    original = _prepare_original(rendition)
    contents = {name: rendition.content, thumbnail: rendition.thumbnail, **original.files}
    _write_files(contents)
    try:
        with transaction.atomic():
            # The removal of another image with the same files keeps them for this row, unless it
            # looked before this row was committed.
            transaction.on_commit(lambda: _write_again(rendition.sha256, contents))
            asset = Asset.objects.create(
                rendition=name,
                thumbnail=thumbnail,
                **_rendition_fields(rendition),
                **original.fields,
                **_origin_fields(rendition, origin),
            )
            HashBand.store(asset)
            AssetText.store(asset, prompt=_find_prompt(origin))
            asset_stored.send(sender=Asset, asset=asset)
    except IntegrityError:
        existing = _find_existing(rendition, origin)
        if existing is None:
            raise
        raise AlreadyStoredError(existing) from None
    return asset


@dataclass(frozen=True, slots=True)
class _Original:
    """Files and columns of the original and its views."""

    fields: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


def _prepare_original(rendition: imaging.Rendition) -> _Original:
    fields: dict[str, Any] = {"differs": list(rendition.differs)}
    content = rendition.original
    if content is None:
        return _Original({**fields, "original_problem": rendition.original_problem})
    if settings.ORIGINALS == NEVER:
        return _Original({**fields, "original_problem": OriginalProblem.NOT_KEPT})
    sha256 = hashlib.sha256(content).hexdigest()
    name = original_file_name(sha256, rendition.source_type)
    views = {view_name(sha256, kind): view for kind, view in rendition.views.items()}
    fields |= {
        "original": name,
        "original_type": rendition.source_type,
        "original_size": len(content),
        "original_sha256": sha256,
        "views": list(rendition.views),
    }
    return _Original(fields, {name: content, **views})


def _write_files(contents: Mapping[str, bytes]) -> None:
    files = storages["assets"]
    try:
        storage_checks.ensure_room(sum(len(content) for content in contents.values()))
        for name, content in contents.items():
            files.save(name, ContentFile(content))
    except OSError as error:
        raise StorageUnavailableError(storage_checks.explain_error(error)) from error


_PURGED = PreparedQuery(
    lambda sha256: Asset.objects.filter(sha256=sha256, purged_at__isnull=False).only("pk")[:1],
    sha256=str,
)


def _write_again(sha256: str, contents: Mapping[str, bytes]) -> None:
    """Write the files again if they were removed with another image of the same content."""
    if _PURGED.row(sha256=sha256) is not None:
        _write_files(contents)


def import_file(*, content: bytes, name: str, user_id: int | None = None) -> Asset:
    """Store an uploaded file.

    Raises UnreadableImageError or AlreadyStoredError; DecoderUnavailableError or
    StorageUnavailableError for faults that the file did not cause.
    """
    rendition = imaging.render(content)
    origin = Origin(source=Source.UPLOAD, original_name=name[:255], stored_by_id=user_id)
    existing = _find_existing(rendition, origin)
    if existing is not None:
        raise AlreadyStoredError(existing)
    return store_rendition(rendition=rendition, origin=origin)


def _rendition_fields(rendition: imaging.Rendition) -> dict[str, Any]:
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


def _origin_fields(rendition: imaging.Rendition, origin: Origin) -> dict[str, Any]:
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
        "end_user": origin.request.end_user if origin.request else origin.end_user,
        "metadata": {**rendition.metadata, **origin.metadata},
    }


def _find_prompt(origin: Origin) -> str:
    if origin.request is not None:
        return origin.request.prompt
    elsewhere = origin.metadata.get("scenario")
    return str(elsewhere.get("prompt", "")) if isinstance(elsewhere, dict) else ""


_IMPORTED = PreparedQuery(
    lambda source, sha256: Asset.objects.filter(source=source, source_sha256=sha256).order_by("pk")[
        :1
    ],
    source=str,
    sha256=str,
)


def _find_existing(rendition: imaging.Rendition, origin: Origin) -> Asset | None:
    if origin.request is not None:
        return Asset.objects.filter(request=origin.request, position=origin.position).first()
    if origin.external_id:
        return Asset.objects.filter(source=origin.source, external_id=origin.external_id).first()
    return _IMPORTED.row(source=origin.source, sha256=rendition.source_sha256)

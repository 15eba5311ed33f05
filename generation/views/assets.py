"""Views of stored images: renditions and thumbnails, with permission checks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from generation.models import Asset

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

log = logging.getLogger("loupe.views")

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
# Makes browsers treat the response as an image only, whatever its content.
ASSET_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@require_safe
def asset_file(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """Return the canonical rendition, which is also what was classified."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), uuid=uuid)
    return _send_file(request, asset, asset.rendition, asset.image_type)


@require_safe
def asset_thumbnail(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """Return the thumbnail, a WebP image."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), uuid=uuid)
    return _send_file(request, asset, asset.thumbnail, "webp")


def _send_file(
    request: HttpRequest, asset: Asset, file: FieldFile, image_type: str
) -> HttpResponseBase:
    try:
        content = file.open("rb")
    except (OSError, ValueError):  # the file is missing, or the field is empty
        log.error("a file of asset %s is missing or unreadable: %s", asset.uuid, file.name)
        return render(request, "generation/asset_missing.html", {"asset": asset}, status=404)
    response = FileResponse(
        content,
        filename=f"{asset.uuid}.{image_type}",
        content_type=CONTENT_TYPES.get(image_type, "application/octet-stream"),
    )
    for name, value in ASSET_HEADERS.items():
        response[name] = value
    return response


@require_safe
def asset_preview(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """Redirect the former URL of the thumbnail."""
    return redirect("generation:asset-thumbnail", uuid=uuid, permanent=True)

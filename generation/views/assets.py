"""Views of stored images: renditions and thumbnails, with permission checks."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db.models.fields.files import FieldFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from generation.core.storage import view_name
from generation.models import Asset
from generation.services import storage_checks
from generation.signals import TooManyViewsError, asset_shown
from generation.views.delivery import send_file

log = logging.getLogger("loupe.views")

CONTENT_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",  # originals only
}
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
    return _show_file(request, asset, asset.rendition, asset.image_type, kind="image")


@require_safe
def asset_thumbnail(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """Return the thumbnail, a WebP image."""
    asset = get_object_or_404(Asset.objects.visible_to(request.user), uuid=uuid)
    return _send_file(request, asset, asset.thumbnail, "webp")


@require_safe
def asset_view(request: HttpRequest, uuid: UUID, kind: str) -> HttpResponseBase:
    """Return a picture of what the rendition does not show, a WebP image.

    Made by the decoder: the original itself is never sent to the desk.
    """
    asset = get_object_or_404(Asset.objects.visible_to(request.user), uuid=uuid)
    if asset.is_purged:
        return _send_tombstone(request, asset)
    if kind not in asset.views:
        raise Http404
    name = view_name(asset.original_sha256, kind)
    file = FieldFile(asset, asset.thumbnail.field, name)
    return _show_file(request, asset, file, "webp", kind="original")


def _show_file(
    request: HttpRequest, asset: Asset, file: FieldFile, image_type: str, *, kind: str
) -> HttpResponseBase:
    """Send a sharp image, which leaves a trace outside of judging; 429 beyond the limit."""
    try:
        asset_shown.send(sender=Asset, asset=asset, user=request.user, kind=kind)
    except TooManyViewsError as error:
        return HttpResponse(
            str(error),
            status=429,
            content_type="text/plain; charset=utf-8",
            headers={"Retry-After": "600"},
        )
    return _send_file(request, asset, file, image_type)


def _send_file(
    request: HttpRequest, asset: Asset, file: FieldFile, image_type: str
) -> HttpResponseBase:
    if asset.is_purged:
        return _send_tombstone(request, asset)
    try:
        return send_file(
            request,
            file,
            filename=f"{asset.uuid}.{image_type}",
            content_type=CONTENT_TYPES.get(image_type, "application/octet-stream"),
            headers=ASSET_HEADERS,
        )
    except (OSError, ValueError) as error:  # the file is missing, or the field is empty
        log.error("a file of asset %s is missing or unreadable: %s", asset.uuid, file.name)
        return _explain_missing_file(request, asset, error)


def _send_tombstone(request: HttpRequest, asset: Asset) -> HttpResponseBase:
    """Return 410: a drawing to image elements, which show it, and a page to people."""
    if request.headers.get("Sec-Fetch-Dest") == "image":
        context = {"width": asset.width, "height": asset.height, "day": asset.purged_at}
        drawing = render_to_string("generation/tombstone.svg", context)
        response = HttpResponse(drawing, status=410, content_type="image/svg+xml")
        for name, value in ASSET_HEADERS.items():
            response[name] = value
        return response
    return render(request, "generation/asset_removed.html", {"asset": asset}, status=410)


def _explain_missing_file(
    request: HttpRequest, asset: Asset, error: OSError | ValueError
) -> HttpResponseBase:
    """Return 503 while the storage may still have the file, else 404."""
    outage = storage_checks.explain_absence()
    if not outage and not isinstance(error, FileNotFoundError | ValueError):
        outage = storage_checks.explain_error(error)
    context = {"asset": asset, "outage": outage}
    status = 503 if outage else 404
    response = render(request, "generation/asset_missing.html", context, status=status)
    if outage:
        response["Retry-After"] = str(int(storage_checks.RETRY_AFTER.total_seconds()))
    return response


@require_safe
def asset_preview(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
    """Redirect the former URL of the thumbnail."""
    return redirect("generation:asset-thumbnail", uuid=uuid, permanent=True)

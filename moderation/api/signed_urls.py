"""Signed URLs of images: valid for an hour, without a key, and only while the image is approved."""

from __future__ import annotations

import logging
import uuid
from xml.sax.saxutils import escape

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.files.base import File
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from generation.models import Asset
from generation.views.assets import ASSET_HEADERS, CONTENT_TYPES
from moderation.models import Review
from moderation.services.delivered_forms import (
    FILE_MISSING,
    DeliveredForm,
    Form,
    build_rendition_form,
    load_forms,
)

log = logging.getLogger("loupe.api")
LIFETIME = 3600  # seconds, the same as Novita's
# The URL is meant for the caller's own pages, so other sites may embed the image; the signature is
# the access control.
HEADERS = {**ASSET_HEADERS, "Cross-Origin-Resource-Policy": "cross-origin"}
_signer = TimestampSigner(salt="moderation.api.signed_urls")


def sign_url(asset: Asset, image_type: str) -> str:
    path = reverse("moderation:signed-image", args=[_signer.sign(asset.uuid.hex), image_type])
    return f"{settings.PUBLIC_URL}{path}"


@csrf_exempt  # read-only, and a wrong method gets S3's XML instead of a page
@login_not_required
def serve_image(request: HttpRequest, token: str, extension: str) -> HttpResponseBase:
    """Return the delivered form if the review is approved now. Errors are in S3's XML format.

    The form may have changed since the URL was signed: the content type is always the file's own.
    """
    if request.method not in ("GET", "HEAD"):
        refused = _render_error(
            405, "MethodNotAllowed", "The specified method is not allowed against this resource."
        )
        refused["Allow"] = "GET, HEAD"
        return refused
    try:
        asset_id = uuid.UUID(_signer.unsign(token, max_age=LIFETIME))
    except SignatureExpired:
        return _render_error(403, "AccessDenied", "Request has expired")
    except (BadSignature, ValueError):
        return _render_error(403, "AccessDenied", "Access Denied")
    asset = Asset.objects.filter(uuid=asset_id, review__status=Review.Status.APPROVED).first()
    if asset is None or extension not in (asset.image_type, asset.original_type):
        return _render_error(403, "AccessDenied", "Access Denied")
    chosen = load_forms([asset])[asset.pk]
    try:
        content, chosen = _open_file(asset, chosen)
    except (OSError, ValueError):
        log.error("the file of asset %s is missing or unreadable", asset.uuid)
        return _render_error(404, "NoSuchKey", "The specified key does not exist.")
    name = f"{asset.uuid}.{chosen.image_type}"
    response = FileResponse(content, filename=name, content_type=CONTENT_TYPES[chosen.image_type])
    response["X-Loupe-Delivered"] = chosen.form.value
    if chosen.reason:
        response["X-Loupe-Delivered-Reason"] = chosen.reason
    return _add_headers(response)


def _open_file(asset: Asset, chosen: DeliveredForm) -> tuple[File[bytes], DeliveredForm]:
    """Open the chosen file, or the rendition if the original is gone."""
    try:
        return chosen.file.open("rb"), chosen
    except (OSError, ValueError):
        if chosen.form is Form.RENDITION:
            raise
    log.error("the original of asset %s is missing or unreadable", asset.uuid)
    rendition = build_rendition_form(asset, FILE_MISSING)
    return rendition.file.open("rb"), rendition


def _add_headers(response: HttpResponseBase) -> HttpResponseBase:
    for name, value in HEADERS.items():
        response[name] = value
    return response


def _render_error(status: int, code: str, message: str) -> HttpResponseBase:
    content = {
        "Code": code,
        "Message": message,
        "ServerTime": f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}",
    }
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in content.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    return _add_headers(HttpResponse(body, status=status, content_type="application/xml"))

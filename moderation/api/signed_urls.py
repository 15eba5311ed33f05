"""Signed URLs of images: valid for an hour, without a key, and only while the image is approved.

A URL is signed for a blurred image or for a sharp one, and ends when that changes.
"""

from __future__ import annotations

import logging
import uuid
from xml.sax.saxutils import escape

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from generation import imaging
from generation.core.storage import BucketError, StorageUnavailableError
from generation.models import Asset
from generation.services import blurring
from generation.views.assets import ASSET_HEADERS, CONTENT_TYPES
from generation.views.delivery import send_file
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
RETRY_AFTER = 30  # seconds, while a blurred file cannot be made
_BLURRED = "-blurred"
_signer = TimestampSigner(salt="moderation.api.signed_urls")


def sign_url(asset: Asset, delivered: DeliveredForm) -> str:
    suffix = _BLURRED if delivered.form is Form.BLURRED else ""
    token = _signer.sign(f"{asset.uuid.hex}{suffix}")
    path = reverse("moderation:signed-image", args=[token, delivered.image_type])
    return f"{settings.PUBLIC_URL}{path}"


@csrf_exempt  # read-only, and a wrong method gets S3's XML instead of a page
@login_not_required
def serve_image(request: HttpRequest, token: str, extension: str) -> HttpResponseBase:
    """Return the delivered form if the review is approved now. Errors are in S3's XML format.

    The form may have changed from original to rendition since the URL was signed: the content type
    is always the file's own.
    """
    if request.method not in ("GET", "HEAD"):
        refused = _render_error(
            405, "MethodNotAllowed", "The specified method is not allowed against this resource."
        )
        refused["Allow"] = "GET, HEAD"
        return refused
    try:
        name = _signer.unsign(token, max_age=LIFETIME)
        asset_id = uuid.UUID(name.removesuffix(_BLURRED))
    except SignatureExpired:
        return _render_error(403, "AccessDenied", "Request has expired")
    except (BadSignature, ValueError):
        return _render_error(403, "AccessDenied", "Access Denied")
    asset = (
        Asset.objects.filter(
            uuid=asset_id,
            review__status=Review.Status.APPROVED,
            review__is_blurred=name.endswith(_BLURRED),
        )
        .select_related("review")
        .first()
    )
    if asset is None or extension not in (asset.image_type, asset.original_type):
        return _render_error(403, "AccessDenied", "Access Denied")
    if asset.is_purged:
        # Without the reason, which may name an end user: the URL needs no key.
        return _render_error(410, "Gone", f"The image was removed on {asset.purged_at:%Y-%m-%d}.")
    chosen = load_forms([asset])[asset.pk]
    try:
        return _send_chosen(request, asset, chosen)
    except (imaging.DecoderUnavailableError, StorageUnavailableError, BucketError):
        log.exception("asset %s could not be read or blurred now", asset.uuid)
        busy = _render_error(503, "ServiceUnavailable", "The image cannot be sent now. Try again.")
        busy["Retry-After"] = str(RETRY_AFTER)
        return busy
    except (OSError, ValueError, imaging.UnreadableImageError):
        log.error("the file of asset %s is missing or unreadable", asset.uuid)
        return _render_error(404, "NoSuchKey", "The specified key does not exist.")


def _send_chosen(request: HttpRequest, asset: Asset, chosen: DeliveredForm) -> HttpResponseBase:
    """Send the chosen file, or the rendition if the original is gone.

    A blurred file is made on the first request. Nothing else is ever sent in its place.
    """
    if chosen.form is Form.BLURRED:
        blurring.store_blurred(asset)
        return _send(request, asset, chosen)
    try:
        return _send(request, asset, chosen)
    except BucketError:
        raise  # the original is not gone
    except (OSError, ValueError):
        if chosen.form is Form.RENDITION:
            raise
    log.error("the original of asset %s is missing or unreadable", asset.uuid)
    return _send(request, asset, build_rendition_form(asset, FILE_MISSING))


def _send(request: HttpRequest, asset: Asset, chosen: DeliveredForm) -> HttpResponseBase:
    headers = {**HEADERS, "X-Loupe-Delivered": chosen.form.value}
    if chosen.reason:
        headers["X-Loupe-Delivered-Reason"] = chosen.reason
    return send_file(
        request,
        chosen.file,
        filename=f"{asset.uuid}.{chosen.image_type}",
        content_type=CONTENT_TYPES[chosen.image_type],
        headers=headers,
    )


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

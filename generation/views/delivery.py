"""Responses with a stored file, in the way that the setting ASSET_DELIVERY names."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from django.db.models.fields.files import FieldFile
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import HttpResponseRedirect
from django.utils.http import content_disposition_header

from generation.core.storage import get_asset_storage

BLOCK_SIZE = 64 * 1024
REDIRECT, X_ACCEL = "redirect", "x-accel"


def send_file(
    request: HttpRequest,
    file: FieldFile,
    *,
    filename: str,
    content_type: str,
    headers: Mapping[str, str],
) -> HttpResponseBase:
    """Return the file, a redirect to it, or its place for nginx.

    Whoever calls has checked the permission. A storage that knows no other way, such as one that
    is being moved, is read through Loupe. Raises OSError if the file is missing or cannot be read,
    ValueError if the field is empty.
    """
    if not file:
        raise ValueError("The asset has no such file.")
    response = _point_to(request, str(file.name), filename, content_type) or _read(
        file, filename, content_type
    )
    for name, value in headers.items():
        response[name] = value
    return response


def _read(file: FieldFile, filename: str, content_type: str) -> FileResponse:
    content = file.open("rb").file
    response = FileResponse(content, filename=filename, content_type=content_type)
    response.block_size = BLOCK_SIZE
    response["Content-Length"] = str(content.size)
    return response


def _point_to(
    request: HttpRequest, name: str, filename: str, content_type: str
) -> HttpResponse | None:
    """Return a response without content; None if Loupe must read the file itself."""
    disposition = content_disposition_header(False, filename) or "inline"
    told = {
        "ResponseContentType": content_type,
        "ResponseContentDisposition": disposition,
        "ResponseCacheControl": "private, no-store",
    }
    files = get_asset_storage()
    if settings.ASSET_DELIVERY == REDIRECT:
        url = files.sign_public_url(name, method=request.method or "GET", headers=told)
        response: HttpResponse = HttpResponseRedirect(url) if url else HttpResponse()
    elif settings.ASSET_DELIVERY == X_ACCEL:
        url = files.find_internal_path(name, headers=told)
        response = HttpResponse(content_type=content_type)
        response["Content-Disposition"] = disposition
        response["X-Accel-Redirect"] = url
    else:
        return None
    if not url:
        return None
    if not files.exists(name):
        raise FileNotFoundError(f"{name} is not stored.")
    return response

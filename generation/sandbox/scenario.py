"""Simulation of Scenario over real HTTP: list of assets, and single assets.

Pages: see ``generation.wire.scenario``. Images have signed URLs that expire. The API key (the user
name of the Basic authentication) selects the behaviour; docs/sandbox.md lists the keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError

from generation.sandbox import library, pictures, signing
from generation.sandbox.library import ASSETS, BY_ID, Exhibit
from generation.sandbox.models import SandboxRefusal
from generation.wire import scenario as wire
from generation.wire.parsing import parse_integer

EMPTY_AT = 20  # after this many assets an empty page follows that still has a next token
SLOW, HANGING = 4.0, 50.0  # seconds; HANGING exceeds a patient client's timeout
KEY_PREFIX = "sandbox-"
_HTML = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>"
P = ParamSpec("P")


def _error(status: int, error: str, message: str, **headers: str) -> HttpResponse:
    """Return an error. Scenario documents no error body; this is a plausible one."""
    return JsonResponse({"error": error, "message": message}, status=status, headers=headers)


# Behaviours that give the same response to every call.
REFUSALS: dict[str, Callable[[], HttpResponse]] = {
    "401": lambda: _error(401, "Unauthorized", "Invalid API key or secret"),
    "403": lambda: _error(403, "Forbidden", "Your plan does not include this"),
    "429-always": lambda: _error(429, "Too Many Requests", "Rate limit exceeded"),
    "500": lambda: _error(500, "Internal Server Error", "Something went wrong"),
    "502": lambda: HttpResponse(_HTML, status=502),
    "html": lambda: HttpResponse(_HTML),
    "json": lambda: HttpResponse(b'{"assets": [{"id": "asset_', content_type="application/json"),
    "list": lambda: JsonResponse([], safe=False),
    "empty": lambda: JsonResponse({}),
}
# Behaviours that reject a call twice and accept it the third time.
BUSY: dict[str, Callable[[], HttpResponse]] = {
    "429": lambda: _error(429, "Too Many Requests", "Rate limit exceeded", **{"Retry-After": "1"}),
    "503": lambda: _error(503, "Service Unavailable", "Try again", **{"Retry-After": "1"}),
}


View = Callable[Concatenate[HttpRequest, P], HttpResponse]  # the request is a positional argument


def _upstream(
    method: str,
) -> Callable[[Callable[Concatenate[HttpRequest, str, P], HttpResponse]], View[P]]:
    """Wrap an endpoint with key check, without Loupe's log-in and CSRF rules.

    Passes the behaviour that the key selects.
    """

    def decorate(view: Callable[Concatenate[HttpRequest, str, P], HttpResponse]) -> View[P]:
        @csrf_exempt
        @login_not_required
        @wraps(view)
        def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not settings.SANDBOX:
                raise Http404("The sandbox is switched off.")
            if request.method != method:
                return _error(405, "Method Not Allowed", f"Only {method} is served here")
            key, secret = _credentials(request.headers.get("Authorization", ""))
            if not key or not secret or "invalid" in (key, secret):
                return REFUSALS["401"]()
            behaviour = key.removeprefix(KEY_PREFIX) if key.startswith(KEY_PREFIX) else ""
            if behaviour in REFUSALS:
                return REFUSALS[behaviour]()
            if behaviour in BUSY and _is_rejected(f"{behaviour} {request.get_full_path()}"):
                return BUSY[behaviour]()
            time.sleep({"slow": SLOW, "hang": HANGING}.get(behaviour, 0.0))
            return view(request, behaviour, *args, **kwargs)

        return wrapper

    return decorate


def _credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.strip().partition(" ")
    try:
        key, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (key, secret) if scheme.lower() == "basic" else ("", "")


def _is_rejected(what: str) -> bool:
    """Return True for the first BUSY_TIMES calls with this text."""
    return SandboxRefusal.objects.turns_away(
        hashlib.sha256(f"scenario {what}".encode()).hexdigest()
    )


# --- The listing ---
@_upstream("GET")
def assets(request: HttpRequest, behaviour: str) -> HttpResponse:
    """Handle GET /v1/assets."""
    project = request.GET.get("projectId", "")
    if project and project not in library.PROJECTS:
        return _error(403, "Forbidden", "You have no access to this project")
    size = parse_integer(
        request.GET.get("pageSize", str(wire.PAGE_SIZE_DEFAULT)), low=1, high=wire.PAGE_SIZE_MAX
    )
    if size is None:
        return _error(400, "Bad Request", f"pageSize must be 1 to {wire.PAGE_SIZE_MAX}")
    start = _parse_token(request.GET.get("paginationToken", ""))
    if start is None:
        return _error(400, "Bad Request", "Invalid paginationToken")
    found = [exhibit for exhibit in ASSETS if project in ("", exhibit.project)]
    if request.GET.get("sortDirection") == "desc":
        found.reverse()
    rows, token = _slice_page(found, start, size)
    if behaviour == "loop":
        token = request.GET.get("paginationToken", "") or token
    page = wire.AssetsReply(
        assets=tuple(_make_asset(request, exhibit, in_listing=True) for exhibit in rows),
        next_pagination_token=token,
    ).to_wire()
    return JsonResponse(_add_odd_entries(page) if behaviour == "odd" else page)


def _slice_page(found: Sequence[Exhibit], start: str, size: int) -> tuple[Sequence[Exhibit], str]:
    """Return the assets of a page and the token of the next.

    A page ends at EMPTY_AT, and an empty page follows it.
    """
    kind, _, number = start.partition("-")
    first = int(number)
    if kind == "empty":
        return [], _make_token(f"from-{first}")
    last = min(first + size, len(found))
    if first < EMPTY_AT <= last and len(found) > EMPTY_AT:
        return found[first:EMPTY_AT], _make_token(f"empty-{EMPTY_AT}")
    return found[first:last], _make_token(f"from-{last}") if last < len(found) else ""


def _make_token(start: str) -> str:
    return base64.urlsafe_b64encode(f"sandbox {start}".encode()).decode()


def _parse_token(token: str) -> str | None:
    if not token:
        return "from-0"
    known = (f"{kind}-{number}" for kind in ("from", "empty") for number in range(len(ASSETS) + 1))
    return next((start for start in known if _make_token(start) == token), None)


def _add_odd_entries(page: dict[str, Any]) -> dict[str, Any]:
    """Insert undocumented entries.

    Clients must still accept the other entries, and must not treat these as clean.
    """
    rows: list[Any] = page["assets"]
    for row, labels in zip(
        rows, ("violence", [7, {"name": "gore"}], {"explicit": 0.9}), strict=False
    ):
        row["nsfw"] = labels
    if len(rows) > 3:
        rows[3]["metadata"] = ["not", "an", "object"]
    return {
        **page,
        "assets": [*rows, None, "asset", {"url": "https://example.org/without-an-id.png"}],
        "new": {"a": 1},
    }


# --- One asset ---
@_upstream("GET")
def asset(request: HttpRequest, behaviour: str, asset_id: str) -> HttpResponse:
    """Handle GET /v1/assets/{assetId}."""
    exhibit = BY_ID.get(asset_id)
    project = request.GET.get("projectId", "")
    if exhibit is None or behaviour == "404" or (project and project != exhibit.project):
        return _error(404, "Not Found", "Asset not found")
    return JsonResponse(
        wire.AssetReply(asset=_make_asset(request, exhibit, in_listing=False)).to_wire()
    )


@_upstream("POST")
def assets_in_bulk(request: HttpRequest, behaviour: str) -> HttpResponse:
    """Handle POST /v1/assets/get-bulk: the known assets among these IDs."""
    project = request.GET.get("projectId", "")
    try:
        asked = wire.BulkBody.model_validate_json(request.body).assetIds
    except ValidationError:
        return _error(400, "Bad Request", f"assetIds must be a list of at most {wire.BULK_MAX} ids")
    found = [BY_ID[name] for name in dict.fromkeys(asked) if name in BY_ID]
    rows = [exhibit for exhibit in found if project in ("", exhibit.project)]
    page = wire.AssetsReply(
        assets=tuple(_make_asset(request, exhibit, in_listing=False) for exhibit in rows)
    )
    return JsonResponse(page.to_wire())


def _make_asset(request: HttpRequest, exhibit: Exhibit, *, in_listing: bool) -> wire.Asset:
    width, height = exhibit.size
    kind, mime_type = library.OTHER_KINDS.get(
        exhibit.trait, (wire.KIND_IMAGE, f"image/{exhibit.image_type}")
    )
    created_at = f"{exhibit.created_at:%Y-%m-%dT%H:%M:%S}.000Z"
    metadata = wire.Metadata(
        kind=kind,
        type="inference-txt2img" if exhibit.is_image else "uploaded",
        prompt=exhibit.prompt,
        negative_prompt="blurry, text",
        seed=str(exhibit.seed),
        model_id=exhibit.model,
        model_type="flux.1-lora",
        base_model_id="flux.1-dev",
        num_inference_steps=28,
        guidance=3.5,
        width=width,
        height=height,
        size=width * height,
        progress_percent=100 if exhibit.trait != library.PENDING else 0,
        inference_id=f"inf_sandbox{exhibit.number:04}",
    )
    return wire.Asset(
        id=exhibit.id,
        url=_make_image_url(request, exhibit, in_listing=in_listing),
        kind=kind,
        mime_type=mime_type,
        status=wire.STATUS_PENDING if exhibit.trait == library.PENDING else wire.STATUS_SUCCESS,
        nsfw=_visible_labels(exhibit, in_listing=in_listing),
        metadata=metadata,
        properties=wire.Properties(width=width, height=height, size=width * height),
        owner_id=exhibit.project,
        author_id=library.AUTHOR,
        created_at=created_at,
        updated_at=created_at,
        description=f"A fictional picture: {exhibit.prompt}",
        source="inference-txt",
        tags=("sandbox",),
    )


def _visible_labels(exhibit: Exhibit, *, in_listing: bool) -> tuple[str, ...] | None:
    if exhibit.trait == library.LATE and (in_listing or _is_rejected(f"labels of {exhibit.id}")):
        return None
    return exhibit.labels


def _make_image_url(request: HttpRequest, exhibit: Exhibit, *, in_listing: bool) -> str:
    if exhibit.trait == library.PENDING:
        return ""
    is_old = exhibit.trait == library.EXPIRED or (exhibit.trait == library.STALE and in_listing)
    signed_at = timezone.now() - timedelta(seconds=2 * signing.LIFETIME if is_old else 0)
    path = reverse("sandbox:scenario-image", args=[exhibit.id])
    return request.build_absolute_uri(f"{path}?{signing.sign_query(path, signed_at)}")


@csrf_exempt
@login_not_required
def image(request: HttpRequest, asset_id: str) -> HttpResponse:
    """Return the content of an asset at its signed URL, without a key."""
    exhibit = BY_ID.get(asset_id)
    if not settings.SANDBOX or exhibit is None:
        raise Http404("There is no such asset.")
    if (
        signing.verify_query(request.path, request.GET.dict(), timezone.now())
        is not signing.Verdict.VALID
    ):
        return HttpResponse(
            "<Error><Code>AccessDenied</Code></Error>", status=403, content_type="application/xml"
        )
    if exhibit.trait == library.GONE:
        return HttpResponse(
            "<Error><Code>NoSuchKey</Code></Error>", status=404, content_type="application/xml"
        )
    if exhibit.trait == library.PAGE or not exhibit.is_image:
        return HttpResponse(_HTML, content_type=f"image/{exhibit.image_type}")
    content = pictures.render_picture(exhibit.order, exhibit.seed % 2**32, 0, exhibit.image_type)
    if exhibit.trait == library.BROKEN:
        content = content[: len(content) // 2]
    return HttpResponse(content, content_type=f"image/{exhibit.image_type}")

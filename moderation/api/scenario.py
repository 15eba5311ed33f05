"""Assets of this installation in Scenario's format.

``GET /v1/assets``, ``GET /v1/assets/{assetId}`` and ``POST /v1/assets/get-bulk``.

Format: ``generation.wire.scenario``. A key with the scope ``read`` sees the images of its own
requests and calls. With ``read:all`` it sees every asset, as a Scenario key sees its whole project.
``projectId`` is accepted and ignored. Ids are our UUIDs.

**``nsfw``** is absent until the review is decided, ``[]`` if it was approved, and Scenario's labels
of the decision's categories if it was rejected. Two mappings are not one to one. Drugs and tobacco
are one category here: such a rejection has both labels, so that filters for either one work. A
policy may reject by a score without a category: such a rejection has the label ``UNNAMED``, because
an empty list would mean "clean".

**``status``** is ``pending`` until the decision, then ``success``. **``url``** is a signed URL that
needs no key and expires; it is empty unless the asset is approved. Filters that are not supported
are refused: ignoring them would return assets that were not asked for.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.signing import BadSignature, Signer
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.dateparse import parse_date, parse_datetime
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ValidationError

from generation.core.db import keyset
from generation.models import ApiKey, Asset, Scope, Source
from generation.wire import scenario as wire
from generation.wire.parsing import parse_integer
from moderation import taxonomy
from moderation.api import signed_urls
from moderation.api.auth import (
    STATUS,
    ApiError,
    ApiErrorCode,
    Call,
    endpoint,
    json_response,
    read_json,
)
from moderation.external_labels import SCENARIO_API
from moderation.models import Decision, Review, Verdict
from moderation.services.delivered_forms import DeliveredForm, load_forms

OWNER = "loupe"  # owner of every asset: there is one project
UNNAMED = "rejected"  # not one of Scenario's labels, like the next one
BLURRED = "blurred"  # approved, and delivered blurred
LABELS: dict[str, tuple[str, ...]] = {
    category.slug: tuple(label for label, slug in SCENARIO_API.items() if slug == category.slug)
    for category in taxonomy.L1
}
# Scenario's values for the origin of an asset: ``metadata.type`` and ``source``.
ORIGINS: dict[str, tuple[str, str]] = {
    Source.TXT2IMG: ("inference-txt2img", "inference-txt"),
    Source.UPLOAD: ("uploaded", "uploaded"),
    Source.API: ("uploaded", "uploaded"),
    Source.SCENARIO: ("unknown", "unknown"),
}
NOT_SERVED = (
    "authorId",
    "collectionId",
    "parentAssetId",
    "rootAssetId",
    "tags",
    "updatedAfter",
    "updatedBefore",
)
_signer = Signer(salt="moderation.api.scenario")


class ErrorBody(BaseModel):
    """The body of an error."""

    error: str  # reason phrase of the status
    message: str


def render_error(error: ApiError) -> HttpResponse:
    """Render an ApiError.

    Scenario documents no error body; its clients and ours read this one.
    """
    return _render_error(STATUS[error.code], str(error))


def _render_error(status: int, message: str) -> HttpResponse:
    return json_response(
        ErrorBody(error=HTTPStatus(status).phrase, message=message).model_dump(), status=status
    )


@endpoint(scope=Scope.READ, methods=("GET",), refuse=render_error)
def list_assets(call: Call) -> HttpResponse:
    asked = _ListQuery.read(call.request.GET)
    found, more = keyset.read_page(asked.rows(call.key), asked.size)
    page = wire.AssetsReply(
        assets=tuple(_describe_assets(found)),
        next_pagination_token=asked.token_after(found[-1]) if more else None,
    )
    return json_response(page.to_wire())


@endpoint(scope=Scope.READ, methods=("GET",), refuse=render_error)
def get_asset(call: Call, asset_id: str) -> HttpResponse:
    name = _parse_uuid(asset_id)
    found = list(_find_readable(call.key).filter(uuid=name)) if name else []
    if not found:
        raise ApiError(ApiErrorCode.NOT_FOUND, "There is no asset with this id.")
    return json_response(wire.AssetReply(asset=_describe_assets(found)[0]).to_wire())


@endpoint(scope=Scope.READ, methods=("POST",), refuse=render_error)
def list_assets_in_bulk(call: Call) -> HttpResponse:
    """Return the assets of the given ids in the given order; skip unknown ids."""
    try:
        asked = wire.BulkBody.model_validate(read_json(call.request)).assetIds
    except ValidationError:
        raise _build_error(
            f"The body must be an object whose assetIds is a list of at most {wire.BULK_MAX} asset"
            " ids."
        ) from None
    ids = [name for text in dict.fromkeys(asked) if (name := _parse_uuid(text))]
    rows = {row.uuid: row for row in _find_readable(call.key).filter(uuid__in=ids)}
    found = _describe_assets(rows[asset_id] for asset_id in ids if asset_id in rows)
    return json_response(wire.AssetsReply(assets=tuple(found)).to_wire())


def _parse_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@csrf_exempt
@login_not_required
def reject_unknown(request: HttpRequest) -> HttpResponse:
    """Return an API error, never a page, for all other URLs of Scenario's API."""
    return _render_error(404, "Loupe has no such endpoint.")


# --- Request ---
@dataclass(frozen=True, slots=True)
class _ListQuery:
    """The parameters of a list request."""

    size: int
    newest_first: bool
    after: tuple[datetime, int] | None  # key of the last asset on the page before
    filters: Q

    @classmethod
    def read(cls, query: QueryDict) -> _ListQuery:
        """Parse the query. Raises ApiError for unsupported or invalid parameters."""
        refused = [name for name in NOT_SERVED if query.get(name)]
        if refused:
            raise _build_error(f"{', '.join(refused)} cannot be used here.")
        for name, allowed in {
            "sortBy": ("", "createdAt"),
            "sortDirection": ("", "asc", "desc"),
            "privacy": ("", "private"),
            "deleted": ("", "false"),
        }.items():
            if query.get(name, "") not in allowed:
                raise _build_error(
                    f"{name} must be {' or '.join(word for word in allowed if word)}."
                )
        newest_first = query.get("sortDirection") != "asc"
        after = _parse_token(query.get("paginationToken", ""), newest_first)
        return cls(
            _parse_page_size(query.get("pageSize", "")), newest_first, after, _parse_filters(query)
        )

    def rows(self, key: ApiKey) -> QuerySet[Asset]:
        """Return the assets from the page on."""
        order = ("-created_at", "-pk") if self.newest_first else ("created_at", "pk")
        rows = _find_readable(key).filter(self.filters)
        if self.after is not None:
            rows = keyset.rows_after(rows, order, self.after)
        return rows.order_by(*order)

    def token_after(self, last: Asset) -> str:
        place = json.dumps([last.created_at.isoformat(), last.pk, self.newest_first])
        return base64.urlsafe_b64encode(_signer.sign(place).encode()).decode()


def _parse_token(token: str, newest_first: bool) -> tuple[datetime, int] | None:
    if not token:
        return None
    try:
        at, pk, direction = json.loads(
            _signer.unsign(base64.b64decode(token, b"-_", validate=True).decode())
        )
    except (ValueError, BadSignature):
        raise _build_error("paginationToken is not from this server.") from None
    if direction != newest_first:
        raise _build_error("paginationToken belongs to the other sortDirection.")
    return datetime.fromisoformat(at), pk


def _parse_page_size(text: str) -> int:
    if not text:
        return wire.PAGE_SIZE_DEFAULT
    size = parse_integer(text, low=1, high=wire.PAGE_SIZE_MAX)
    if size is None:
        raise _build_error(f"pageSize must be 1 to {wire.PAGE_SIZE_MAX}.")
    return size


def _parse_filters(query: QueryDict) -> Q:
    filters = Q()
    for name, lookup in (("createdAfter", "created_at__gt"), ("createdBefore", "created_at__lt")):
        if text := query.get(name):
            filters &= Q(**{lookup: _parse_timestamp(name, text)})
    types = [
        kind
        for name in ("type", "types", "types[]")
        for text in query.getlist(name)
        for kind in text.split(",")
    ]
    if any(types):
        filters &= Q(source__in=[source for source, (kind, _) in ORIGINS.items() if kind in types])
    if model := query.get("modelId"):
        filters &= Q(request__model_name=model.replace("\0", ""))
    if inference := query.get("inferenceId"):
        try:
            filters &= Q(request__uuid=uuid.UUID(inference))
        except ValueError:
            filters &= Q(pk__in=[])
    return filters


def _parse_timestamp(name: str, text: str) -> datetime:
    try:
        text.encode("ascii")  # the parsers below accept the digits of every script
        found = parse_datetime(text) if len(text) <= 40 else None
        if found is None and (day := parse_date(text[:11])) is not None:
            found = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if found is not None:
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _build_error(f"{name} must be an ISO date.")


def _build_error(message: str) -> ApiError:
    return ApiError(ApiErrorCode.BODY_INVALID, message)


# --- Response ---
def _find_readable(key: ApiKey) -> QuerySet[Asset]:
    return Asset.objects.readable_by(key).select_related("review", "request")


def _describe_assets(found: Iterable[Asset]) -> list[wire.Asset]:
    rows = list(found)
    labelled = [
        row.review.pk
        for row in rows
        if row.review.status == Review.Status.REJECTED or row.review.is_blurred
    ]
    decisions = Decision.objects.map_last_effective(labelled)
    forms = load_forms(row for row in rows if row.review.status == Review.Status.APPROVED)
    return [_describe_asset(row, decisions.get(row.review.pk), forms.get(row.pk)) for row in rows]


def _describe_asset(
    row: Asset, decision: Decision | None, delivered: DeliveredForm | None
) -> wire.Asset:
    review: Review = row.review
    nsfw = _choose_labels(review, decision)
    image_type, size = (
        (delivered.image_type, delivered.size) if delivered else (row.image_type, row.size)
    )
    kind, source = ORIGINS[row.source]
    return wire.Asset(
        id=str(row.uuid),
        url=signed_urls.sign_url(row, delivered) if delivered else "",
        kind=wire.KIND_IMAGE,
        mime_type=f"image/{image_type}",
        status=wire.STATUS_PENDING if nsfw is None else wire.STATUS_SUCCESS,
        nsfw=nsfw,
        metadata=_build_metadata(row, kind, size),
        properties=wire.Properties(width=row.width, height=row.height, size=size),
        owner_id=OWNER,
        author_id=OWNER,
        created_at=_format_timestamp(row.created_at),
        updated_at=_format_timestamp(review.decided_at or row.created_at),
        source=source,
        description=row.request.prompt if row.request else row.original_name or None,
    )


def _choose_labels(review: Review, decision: Decision | None) -> tuple[str, ...] | None:
    if review.status == Review.Status.APPROVED:
        named = _list_labels(decision) if decision and review.is_blurred else ()
        return (*named, BLURRED) if review.is_blurred else ()
    # Undecided, or reversed concurrently.
    if decision is None or decision.verdict != Verdict.REJECT:
        return None
    return _list_labels(decision) or (UNNAMED,)


def _list_labels(decision: Decision) -> tuple[str, ...]:
    """Return Scenario's labels for the categories of a decision."""
    slugs = [str(slug).partition(".")[0] for slug in decision.categories]
    return tuple(dict.fromkeys(label for slug in slugs for label in LABELS.get(slug, (UNNAMED,))))


def _build_metadata(row: Asset, kind: str, size: int) -> wire.Metadata:
    known: dict[str, Any] = {
        "kind": wire.KIND_IMAGE,
        "type": kind,
        "width": row.width,
        "height": row.height,
        "size": size,
        "progress_percent": 100,  # stored images are finished
    }
    if request := row.request:
        known |= {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt or None,
            "model_id": request.model_name,
            "num_inference_steps": request.steps,
            "guidance": request.guidance_scale,
            "scheduler": request.sampler_name,
            "inference_id": str(request.uuid),
            # The request's seed belongs to its first image; other images have one only if the
            # provider reported it.
            "seed": (
                row.seed if row.seed is not None else request.seed if row.position == 0 else None
            ),
        }
    elif row.original_name and row.source == Source.UPLOAD:
        known |= {"name": row.original_name}
    return wire.Metadata(**known)


def _format_timestamp(timestamp: datetime) -> str:
    return timestamp.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Novita's ``GET /v3/model``: the models of the provider, or of its last answer.

Page: https://novita.ai/docs/api-reference/model-apis-get-model. The cursor is c_<offset>, which
the official Python SDK also computes itself, so both ways of paging agree.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from generation import providers
from generation.providers.base import Model
from generation.services import model_catalog
from generation.wire import task as wire
from generation.wire.parsing import parse_integer
from moderation.api.auth import ApiError, ApiErrorCode

# Every documented type. The first ones are those that a txt2img body can name.
TYPES = (*model_catalog.KINDS, "controlnet", "upscaler")
DISPLAY = {
    "checkpoint": "Checkpoint",
    "lora": "LORA",
    "vae": "VAE",
    "textualinversion": "Textual Inversion",
}
VISIBILITIES = ("public", "private")
SOURCES = ("civitai", "training", "uploading")
FILTERS = (
    "filter.types",
    "filter.type",  # sent by the official Python SDK
    "filter.query",
    "filter.visibility",
    "filter.source",
    "filter.is_sdxl",
    "filter.is_inpainting",
)
LIMIT_MAX = 100
LIMIT_DEFAULT = 20
ASKING = 8.0  # seconds after which no further page is requested


def page(asked: Mapping[str, str]) -> wire.ModelsReply:
    """Return a page of the models that match ``filter.*``.

    Raises ApiError for a wrong filter, and when no list of models is available.
    """
    start, limit = (
        _offset(asked.get("pagination.cursor", "")),
        _limit(asked.get("pagination.limit", "")),
    )
    rows = list(islice(_matching(asked), start, start + limit + 1))
    more = len(rows) > limit
    return wire.ModelsReply(
        models=[_row(model) for model in rows[:limit]],
        pagination=wire.Pagination(next_cursor=f"c_{start + limit}" if more else ""),
    )


def _matching(asked: Mapping[str, str]) -> Iterator[Model]:
    kinds = _kinds(asked.get("filter.types") or asked.get("filter.type") or "")
    query = asked.get("filter.query", "").strip()
    if len(query) > model_catalog.QUERY_MAX:
        raise _wrong(f"filter.query must have at most {model_catalog.QUERY_MAX} characters.")
    sdxl, inpainting = _flag(asked, "filter.is_sdxl"), _flag(asked, "filter.is_inpainting")
    visibility, source = (
        _choice(asked, "filter.visibility", VISIBILITIES),
        _choice(asked, "filter.source", SOURCES),
    )
    if unknown := sorted(
        name for name in asked if name.startswith("filter.") and name not in FILTERS
    ):
        raise _wrong(f"{unknown[0][:60]} is no filter. There are {', '.join(FILTERS)}.")
    provider = next(iter(providers.list_labels()), "")
    if not provider:
        raise ApiError(ApiErrorCode.UNAVAILABLE, "No image provider is configured on this server.")
    if inpainting:  # there is no inpainting here
        return
    until = time.monotonic() + ASKING
    first = model_catalog.CatalogQuery(
        provider=provider, query=query, is_sdxl=sdxl, visibility=visibility, source=source
    )
    for kind in kinds:
        yield from _offered(replace(first, kind=kind), until)


def _offered(question: model_catalog.CatalogQuery, until: float) -> Iterator[Model]:
    """Yield the models of one kind, fetching further pages on demand.

    Raises ApiError when a page is unavailable, instead of returning a shorter list.
    """
    cursor = ""
    while True:
        offer = model_catalog.fetch_page(replace(question, cursor=cursor))
        if offer.asked_at is None:
            raise _unavailable(offer.problem)
        yield from offer.models
        if not offer.next_cursor or offer.next_cursor == cursor:
            return
        cursor = offer.next_cursor
        if time.monotonic() > until:
            raise _unavailable("The list is long and is still being read.")


def _row(model: Model) -> wire.ModelRow:
    return wire.ModelRow(
        # Clients need a number. Without the provider's own, a checksum of the name is stable.
        id=zlib.crc32(f"{model.kind}:{model.name}".encode())
        if model.number is None
        else model.number,
        name=model.title,
        hash_sha256=model.sha256,
        sd_name=model.list_name or model.name,
        sd_name_in_api=model.api_name or model.name,
        categories=list(model.categories),
        source=model.source,
        base_model_type=model.base_model_type,
        download_url=model.download_url,
        download_url_ttl=model.download_url_ttl,
        type=wire.ModelType(name=model.kind, display_name=DISPLAY.get(model.kind, model.kind)),
        tags=list(model.tags),
        cover_url=model.cover_url,
        base_model=model.base_model,
        is_sdxl=model.is_sdxl,
    )


def _kinds(value: str) -> list[str]:
    kinds = [kind for kind in value.split(",") if kind]
    if unknown := [kind for kind in kinds if kind not in TYPES]:
        raise _wrong(f"filter.types must be one of {', '.join(TYPES)}, not {unknown[0][:40]!r}.")
    return list(dict.fromkeys(kinds)) or list(model_catalog.KINDS)


def _flag(asked: Mapping[str, str], name: str) -> bool | None:
    value = asked.get(name, "").lower()
    if value not in ("", "true", "false"):
        raise _wrong(f"{name} must be true or false.")
    return value == "true" if value else None


def _choice(asked: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = asked.get(name, "")
    if value and value not in allowed:
        raise _wrong(f"{name} must be one of {', '.join(allowed)}.")
    return value


def _limit(value: str) -> int:
    limit = parse_integer(value, low=1, high=LIMIT_MAX) if value else LIMIT_DEFAULT
    if limit is None:
        raise _wrong(f"pagination.limit must be from 1 to {LIMIT_MAX}.")
    return limit


def _offset(cursor: str) -> int:
    # The official SDK adds its prefix to a cursor that already has one.
    found = re.fullmatch(r"(?:c_){0,2}(\d{0,6})", cursor, re.ASCII)
    if found is None:
        raise _wrong("pagination.cursor is not one of this server's.")
    return int(found[1] or 0)


def _wrong(sentence: str) -> ApiError:
    return ApiError(ApiErrorCode.BODY_INVALID, sentence)


def _unavailable(sentence: str) -> ApiError:
    return ApiError(
        ApiErrorCode.UNAVAILABLE,
        f"The list of models cannot be had now. {sentence}".strip(),
        retry_after=5,
    )

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
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

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
LIMIT_MAX = 100
LIMIT_DEFAULT = 20
ASKING = 8.0  # seconds after which no further page is requested

Flag = Annotated[Literal["true", "false"], BeforeValidator(str.lower)]


def _check_types(value: str) -> str:
    if unknown := [kind for kind in value.split(",") if kind and kind not in TYPES]:
        raise PydanticCustomError(
            "unknown_type", f"must be one of {', '.join(TYPES)}, not {unknown[0][:40]!r}"
        )
    return value


def _read_limit(value: object) -> object:
    """Accept nothing but ASCII digits, which pydantic does not insist on."""
    return parse_integer(value) if isinstance(value, str) else value


class ModelsQuery(BaseModel):
    """The query of ``GET /v3/model``, as it is validated and documented."""

    types: Annotated[str, AfterValidator(_check_types)] = Field(
        default="",
        alias="filter.types",
        description="One or more, comma separated.",
        examples=[",".join(TYPES)],
    )
    query: Annotated[
        str, StringConstraints(strip_whitespace=True, max_length=model_catalog.QUERY_MAX)
    ] = Field(default="", alias="filter.query", description="Part of a name or tag.")
    is_sdxl: Flag | None = Field(
        default=None,
        alias="filter.is_sdxl",
        description="true: only SDXL models. false: only others.",
    )
    visibility: Literal["public", "private"] | None = Field(
        default=None,
        alias="filter.visibility",
        description="private: models that the provider's account created or uploaded.",
    )
    source: Literal["civitai", "training", "uploading"] | None = Field(
        default=None,
        alias="filter.source",
        description="Origin of a model, according to the provider.",
    )
    is_inpainting: Flag | None = Field(
        default=None,
        alias="filter.is_inpainting",
        description="Models for inpainting; there are none here.",
    )
    limit: Annotated[int, BeforeValidator(_read_limit)] = Field(
        default=LIMIT_DEFAULT,
        alias="pagination.limit",
        ge=1,
        le=LIMIT_MAX,
        description=f"{LIMIT_DEFAULT} by default.",
    )
    # The official SDK adds its prefix to a cursor that already has one.
    cursor: str = Field(
        default="",
        alias="pagination.cursor",
        pattern="^(c_){0,2}[0-9]{0,6}$",
        description="next_cursor of the previous page, or c_0.",
    )

    @property
    def kinds(self) -> list[str]:
        kinds = dict.fromkeys(kind for kind in self.types.split(",") if kind)
        return list(kinds or model_catalog.KINDS)

    @property
    def offset(self) -> int:
        return int(self.cursor.replace("c_", "") or 0)


NAMES = tuple(str(field.alias) for field in ModelsQuery.model_fields.values())
SDK_NAME = "filter.type"  # sent by the official Python SDK for filter.types
FILTERS = (*(name for name in NAMES if name.startswith("filter.")), SDK_NAME)


def page(asked: Mapping[str, str]) -> wire.ModelsReply:
    """Return a page of the models that match ``filter.*``.

    Raises ApiError for a wrong filter, and when no list of models is available.
    """
    query = read_query(asked)
    start, limit = query.offset, query.limit
    rows = list(islice(_find_models(query), start, start + limit + 1))
    more = len(rows) > limit
    return wire.ModelsReply(
        models=[_row(model) for model in rows[:limit]],
        pagination=wire.Pagination(next_cursor=f"c_{start + limit}" if more else ""),
    )


def read_query(asked: Mapping[str, str]) -> ModelsQuery:
    """Validate a query, in which an empty value counts as absent. Raises ApiError."""
    given = {name: value for name, value in asked.items() if value}
    if SDK_NAME in given:
        given.setdefault("filter.types", given[SDK_NAME])
    try:
        query = ModelsQuery.model_validate(given)
    except ValidationError as error:
        raise _wrong(_explain(error)) from None
    if unknown := sorted(
        name for name in asked if name.startswith("filter.") and name not in FILTERS
    ):
        raise _wrong(f"{unknown[0][:60]} is not a filter. Filters: {', '.join(FILTERS)}.")
    return query


def _explain(error: ValidationError) -> str:
    """Return a message about the first wrong parameter."""
    details = error.errors(include_url=False)[0]
    demand = details["msg"]
    if details["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", details["ctx"]["expected"])
        flag = choices == ["true", "false"]
        demand = "must be true or false" if flag else f"must be one of {', '.join(choices)}"
    elif details["type"] == "string_too_long":
        demand = f"must have at most {details['ctx']['max_length']} characters"
    elif details["type"] == "string_pattern_mismatch":
        demand = "is not one of this server's"
    elif details["loc"] == ("pagination.limit",):
        demand = f"must be from 1 to {LIMIT_MAX}"
    return f"{details['loc'][0]} {demand}."


def _find_models(query: ModelsQuery) -> Iterator[Model]:
    provider = next(iter(providers.list_labels()), "")
    if not provider:
        raise ApiError(ApiErrorCode.UNAVAILABLE, "No image provider is configured on this server.")
    if query.is_inpainting == "true":  # there is no inpainting here
        return
    until = time.monotonic() + ASKING
    first = model_catalog.CatalogQuery(
        provider=provider,
        query=query.query,
        is_sdxl=None if query.is_sdxl is None else query.is_sdxl == "true",
        visibility=query.visibility or "",
        source=query.source or "",
    )
    for kind in query.kinds:
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


def _wrong(sentence: str) -> ApiError:
    return ApiError(ApiErrorCode.BODY_INVALID, sentence)


def _unavailable(sentence: str) -> ApiError:
    return ApiError(
        ApiErrorCode.UNAVAILABLE,
        f"The list of models is not available now. {sentence}".strip(),
        retry_after=5,
    )

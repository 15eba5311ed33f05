"""The operations of the API, from which ``document`` builds the OpenAPI document and its page.

Bodies and replies are the models of ``generation.wire``, which also validate them. The models hold
fields, types, limits and descriptions; paths, parameters and errors are here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from generation.models import Scope
from generation.wire import nanogpt, task, txt2img
from generation.wire import scenario as scenario_wire
from moderation.api import instant_classification, scenario, signed_urls
from moderation.api import nanogpt as nanogpt_view
from moderation.api.auth import END_USER_HEADER, END_USER_MAX, STATUS, ApiErrorCode
from moderation.api.novita import errors, model_list

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "string", "enum": ["true", "false"]}
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A wire format and its errors."""

    slug: str
    name: str
    about: str
    prefix: str  # of the names of its schemas
    error: type[BaseModel]
    status: Callable[[ApiErrorCode], int] = STATUS.__getitem__
    sends_null: bool = False  # whether replies contain null for absent values


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    about: str
    schema: Schema
    where: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    format: Format
    method: str
    path: str
    summary: str
    about: str
    example: str  # curl, with $LOUPE and $KEY
    scope: Scope | None = None  # None: no key is needed
    parameters: tuple[Parameter, ...] = ()
    query: type[BaseModel] | None = None  # further parameters
    body: type[BaseModel] | None = None
    reply: type[BaseModel] | None = None  # None: an image
    headers: Mapping[str, str] | None = None  # of a successful response
    refusals: Mapping[ApiErrorCode, str] | None = None  # besides COMMON


# Errors of every call with a key.
COMMON: dict[ApiErrorCode, str] = {
    ApiErrorCode.KEY_MISSING: "The headers contain no key.",
    ApiErrorCode.KEY_INVALID: (
        "The key is unknown, expired or revoked, or its owner's account is inactive."
    ),
    ApiErrorCode.SCOPE_MISSING: "The key lacks the scope that this call needs.",
    ApiErrorCode.METHOD: "The URL accepts another method, named in Allow.",
    ApiErrorCode.TOO_OFTEN: (
        "The key has used its calls of this minute. Retry-After says when to retry."
    ),
    ApiErrorCode.INTERNAL: "Loupe failed. It has been logged.",
    ApiErrorCode.UNAVAILABLE: "The database does not respond. Retry-After says when to retry.",
}
DAY = "The key has used its images of this day (UTC). Retry-After says when to retry."

NOVITA = Format(
    slug="novita",
    name="Novita",
    about="Generate images. Only images that passed classifiers and moderators are delivered.",
    prefix="Novita",
    error=task.ErrorReply,
    status=lambda refusal: errors.MEANING.get(refusal, (500, ""))[0],
    sends_null=True,
)
NANOGPT = Format(
    slug="nano-gpt",
    name="nano-gpt",
    about="Classify images at once with the classifiers of this server, at no cost per image.",
    prefix="NanoGpt",
    error=nanogpt.ErrorReply,
)
SCENARIO = Format(
    slug="scenario",
    name="Scenario",
    about="List the stored assets and their status. One installation is one project.",
    prefix="Scenario",
    error=scenario.ErrorBody,
)
FORMATS = (NOVITA, NANOGPT, SCENARIO)

_IDEMPOTENCY = Parameter(
    name="Idempotency-Key",
    where="header",
    about="A name for this submission. A repeated submission with the same body returns the first task.",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)
_END_USER = Parameter(
    name=END_USER_HEADER,
    where="header",
    about=(
        "An opaque id of the end user for whom the call is made, an extension of Loupe. Images can"
        " be found, put on legal hold and erased by it."
    ),
    schema={"type": "string", "maxLength": END_USER_MAX},
)
_TYPES: Schema = {"type": "string", "enum": sorted({kind for kind, _ in scenario.ORIGINS.values()})}
_MOMENT: Schema = {"type": "string", "format": "date-time"}


def _pick(name: str) -> str:
    """Return shell code that takes the first text of this name from a JSON response."""
    return f"""| grep -o '"{name}": *"[^"]*"' | head -n 1 | cut -d '"' -f 4"""


# The examples run as pasted, with KEY and LOUPE set.
_MODEL = f"""MODEL=$(curl -s "$LOUPE/v3/model?filter.types=checkpoint&pagination.limit=1" \\
  -H "Authorization: Bearer $KEY" {_pick("sd_name")})"""
_INITIAL = {
    field.path[-1]: field.input.initial
    for field in txt2img.FIELDS
    if field.is_required and field.input
}
_REQUEST = _INITIAL | {
    "model_name": "'\"$MODEL\"'",
    "prompt": "a quiet harbour at dawn",
    "image_num": 1,
}
_BODY = json.dumps({"request": _REQUEST}, indent=1).replace("\\", "")
_SUBMIT = f"""curl "$LOUPE/v3/async/txt2img" -H "Authorization: Bearer $KEY" \\
  -H "Content-Type: application/json" -d '{_BODY}'"""
_ASSET = f"""ASSET=$(curl -s -u "$KEY:any" "$LOUPE/v1/assets?pageSize=1" {_pick("id")})"""
# A PNG of 64 x 64 pixels.
_PIXELS = (
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAABlBMVEUoWozwtDyBtoSWAAAAS0lEQVR42u3IqxGAMBRE0UOIiKQESqcUSkkJkRH8"
    "xHMMjhkUV51dvmsE57DGOqsE2RQoSmCSAwjM0u15ieq4Pc0W6Hpg0wK7xd9jF0A1DWnT+RAxAAAAAElFTkSuQmCC"
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        id="submitTxt2Img",
        format=NOVITA,
        method="post",
        path="/v3/async/txt2img",
        scope=Scope.GENERATE,
        summary="Submit a request",
        about=(
            "Returns 200 and the id of a task. Null and {} count as absent. A "
            "transparent background needs png."
        ),
        parameters=(_IDEMPOTENCY, _END_USER),
        body=txt2img.Txt2ImgBody,
        reply=task.SubmitReply,
        refusals={
            ApiErrorCode.BODY_INVALID: (
                "A field is missing, blank, out of range, has another type, or requests an image"
                " that cannot be stored; metadata.fields names every such field. Or a field cannot"
                " be used here."
            ),
            ApiErrorCode.BODY_TOO_LARGE: "The body is larger than 1 MiB.",
            ApiErrorCode.CONFLICT: "The Idempotency-Key was used for another body.",
            ApiErrorCode.IMAGES_SPENT: DAY,
            ApiErrorCode.UNAVAILABLE: (
                "No image provider is configured, the spending limit of the day is reached, or the"
                " list of models, which a transparent background needs, cannot be read."
            ),
        },
        example=f"""{_MODEL}
{_SUBMIT}""",
    ),
    Operation(
        id="readTaskResult",
        format=NOVITA,
        method="get",
        path="/v3/async/task-result",
        scope=Scope.GENERATE,
        summary="Read a task",
        about=(
            "PROCESSING while any of its images is undecided, SUCCEED with only the "
            "approved images, FAILED with a reason if none was approved. "
            "extra.moderation lists for each image the verdict, the categories, "
            "who decided, and whether the original, a rendition or a blurred image is delivered."
        ),
        parameters=(
            Parameter(
                name="task_id",
                about="The id that the submission returned.",
                schema=TEXT,
                required=True,
            ),
        ),
        reply=task.TaskResultReply,
        refusals={ApiErrorCode.NOT_FOUND: "This key has no task with this id."},
        example=f"""{_MODEL}
TASK=$({_SUBMIT.replace("curl", "curl -s", 1)} {_pick("task_id")})
curl "$LOUPE/v3/async/task-result?task_id=$TASK" -H "Authorization: Bearer $KEY\"""",
    ),
    Operation(
        id="listModels",
        format=NOVITA,
        method="get",
        path="/v3/model",
        scope=Scope.GENERATE,
        summary="List models",
        about=(
            "The provider's list, or its last response during an outage. filter[types] "
            "is read as filter.types."
        ),
        query=model_list.ModelsQuery,
        reply=task.ModelsReply,
        refusals={
            ApiErrorCode.BODY_INVALID: "A filter is invalid or unknown; the message names it.",
            ApiErrorCode.UNAVAILABLE: "The list is not available now.",
        },
        example="""curl "$LOUPE/v3/model?filter.types=checkpoint" -H "Authorization: Bearer $KEY\"""",
    ),
    Operation(
        id="readImage",
        format=NOVITA,
        method="get",
        path="/v3/images/{token}.{extension}",
        summary="Fetch an image",
        about=(
            "The signed URL from a response. It needs no key, expires after"
            f" {signed_urls.LIFETIME // 60} minutes, and works only while the image is approved:"
            " after a reversal it returns 403, and 410"
            " once the files were removed. Errors are XML. X-Loupe-Delivered says whether it is"
            " the original or a rendition, X-Loupe-Delivered-Reason why it is a rendition."
        ),
        parameters=(
            Parameter(name="token", where="path", about="Signed.", schema=TEXT, required=True),
            Parameter(
                name="extension",
                where="path",
                about="The file type.",
                schema={"type": "string", "enum": [*txt2img.IMAGE_TYPES, "gif"]},
                required=True,
            ),
        ),
        example="""IMAGE=$(curl -s -u "$KEY:any" "$LOUPE/v1/assets" | grep -o 'http[^"]*/v3/images/[^"]*' | head -n 1)
curl --remote-name "$IMAGE\"""",
    ),
    Operation(
        id="classifyImages",
        format=NANOGPT,
        method="post",
        path="/api/nsfw/image",
        scope=Scope.CLASSIFY,
        summary="Classify up to ten images",
        about=(
            "Public URLs and data URLs, in any of the fields, each a string or a list. The results"
            " are in input order. URLs are fetched within"
            f" {instant_classification.FETCH_SECONDS:.0f} seconds together. An image is flagged if"
            " a classifier finds something in a category of the policy's NSFW level that the"
            " policy would send to a person. false means that the policy would approve the image"
            " with these classifiers. It never means that no classifier could check it: one image"
            " that cannot be fetched, decoded or classified, or that is in doubt, fails the call."
        ),
        parameters=(
            Parameter(
                name="review",
                about=(
                    "true also stores the images and adds them to the queue of this server. "
                    "nano-gpt has no such parameter."
                ),
                schema=FLAG,
            ),
            _END_USER,
        ),
        body=nanogpt.NsfwRequest,
        reply=nanogpt.NsfwReply,
        headers={
            nanogpt_view.CLASSIFIERS_HEADER: "The classifiers that were used.",
            nanogpt_view.ASSETS_HEADER: (
                "With review=true: the ids of the stored images, in input order."
            ),
        },
        refusals={
            ApiErrorCode.BODY_INVALID: (
                "The body is invalid or contains no image, or an image could not be read. "
                "The reason is not given."
            ),
            ApiErrorCode.BODY_TOO_LARGE: (
                f"The body is larger than {nanogpt_view.BODY_MAX // MIB} MiB."
            ),
            ApiErrorCode.IMAGES_SPENT: DAY,
            ApiErrorCode.IN_DOUBT: (
                "An image is neither true nor false: these classifiers cannot rule out "
                "NSFW content."
            ),
            ApiErrorCode.UNAVAILABLE: (
                "No classifier on this server can classify an image, or the server is busy."
            ),
        },
        example="IMAGE="
        + _PIXELS
        + """
curl "$LOUPE/api/nsfw/image" -H "x-api-key: $KEY" -H "Content-Type: application/json" \\
  -d '{"imageDataUrl": "data:image/png;base64,'"$IMAGE"'"}'""",
    ),
    Operation(
        id="listAssets",
        format=SCENARIO,
        method="get",
        path="/v1/assets",
        scope=Scope.READ,
        summary="List assets",
        about=(
            "The key's own assets: the images of its requests and those it sent. With the scope"
            " read:all, every asset of this installation. Newest first by default. nsfw is absent"
            " until the image is decided, [] if it was approved, labels if it was rejected. Drugs"
            " and tobacco are one category here, so both labels come together;"
            f' "{scenario.UNNAMED}" stands for a rejection that names no category. url is signed'
            " and expires. It is empty unless the image is approved. Not supported:"
            f" {', '.join(scenario.NOT_SERVED)}."
        ),
        parameters=(
            Parameter(
                name="pageSize",
                about=f"{scenario_wire.PAGE_SIZE_DEFAULT} by default.",
                schema={"type": "integer", "minimum": 1, "maximum": scenario_wire.PAGE_SIZE_MAX},
            ),
            Parameter(
                name="paginationToken",
                about="nextPaginationToken of the previous page.",
                schema=TEXT,
            ),
            Parameter(
                name="sortBy",
                about="The only order.",
                schema={"type": "string", "enum": ["createdAt"]},
            ),
            Parameter(
                name="sortDirection",
                about="asc: oldest first.",
                schema={"type": "string", "enum": ["asc", "desc"]},
            ),
            Parameter(name="createdAfter", about="Exclusive; a date or a time.", schema=_MOMENT),
            Parameter(name="createdBefore", about="Exclusive; a date or a time.", schema=_MOMENT),
            Parameter(name="type", about="Origin of the assets.", schema=_TYPES),
            Parameter(name="types", about="Several origins, comma separated.", schema=TEXT),
            Parameter(name="modelId", about="The model's name.", schema=TEXT),
            Parameter(name="inferenceId", about="Id of a request (Novita's task_id).", schema=TEXT),
            Parameter(name="projectId", about="Accepted and ignored.", schema=TEXT),
        ),
        reply=scenario_wire.AssetsReply,
        refusals={
            ApiErrorCode.BODY_INVALID: (
                "A parameter is invalid or not supported; the message names it."
            )
        },
        example="""curl -u "$KEY:any" "$LOUPE/v1/assets?pageSize=20\"""",
    ),
    Operation(
        id="readAssetsInBulk",
        format=SCENARIO,
        method="post",
        path="/v1/assets/get-bulk",
        scope=Scope.READ,
        summary="Read several assets",
        about=(
            f"The assets of up to {scenario_wire.BULK_MAX} ids, each once, in the "
            "requested order. Ids that do not exist, or that this key may not read, "
            "are left out."
        ),
        parameters=(Parameter(name="projectId", about="Accepted and ignored.", schema=TEXT),),
        body=scenario_wire.BulkBody,
        reply=scenario_wire.AssetsReply,
        refusals={
            ApiErrorCode.BODY_INVALID: "assetIds is missing, too long or not a list of ids.",
            ApiErrorCode.BODY_TOO_LARGE: "The body is larger than 1 MiB.",
        },
        example=f"""{_ASSET}
curl -u "$KEY:any" "$LOUPE/v1/assets/get-bulk" -H "Content-Type: application/json" \\
  -d "{{\\"assetIds\\": [\\"$ASSET\\"]}}\"""",
    ),
    Operation(
        id="readAsset",
        format=SCENARIO,
        method="get",
        path="/v1/assets/{assetId}",
        scope=Scope.READ,
        summary="Read an asset",
        about=(
            "As in the list, with a fresh URL. Assets that the list does not show are not found."
        ),
        parameters=(
            Parameter(name="assetId", where="path", about="A UUID.", schema=TEXT, required=True),
        ),
        reply=scenario_wire.AssetReply,
        refusals={ApiErrorCode.NOT_FOUND: "There is no asset with this id."},
        example=f"""{_ASSET}
curl -u "$KEY:any" "$LOUPE/v1/assets/$ASSET\"""",
    ),
)

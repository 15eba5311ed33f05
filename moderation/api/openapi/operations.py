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
from moderation.api.auth import STATUS, ApiErrorCode
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
    ApiErrorCode.KEY_MISSING: "There is no key in the headers.",
    ApiErrorCode.KEY_INVALID: (
        "The key is unknown, expired or revoked, or its owner's account is inactive."
    ),
    ApiErrorCode.SCOPE_MISSING: "The key lacks the scope that this call needs.",
    ApiErrorCode.METHOD: "The address takes another method, named in Allow.",
    ApiErrorCode.TOO_OFTEN: (
        "The key has made its calls of this minute. Retry-After says when to come back."
    ),
    ApiErrorCode.INTERNAL: "Loupe failed. It has been logged.",
    ApiErrorCode.UNAVAILABLE: "The database does not answer. Retry-After says when to come back.",
}
DAY = "The key has spent its images of this day (UTC). Retry-After says when to come back."

NOVITA = Format(
    slug="novita",
    name="Novita",
    about="Generate images. Only those that passed classifiers and moderators are ever handed out.",
    prefix="Novita",
    error=task.ErrorReply,
    status=lambda refusal: errors.MEANING.get(refusal, (500, ""))[0],
    sends_null=True,
)
NANOGPT = Format(
    slug="nano-gpt",
    name="nano-gpt",
    about="Have images judged at once, by the classifiers of this server, at no cost per image.",
    prefix="NanoGpt",
    error=nanogpt.ErrorReply,
)
SCENARIO = Format(
    slug="scenario",
    name="Scenario",
    about="List what is stored here, and where each image stands. One installation is one project.",
    prefix="Scenario",
    error=scenario.ErrorBody,
)
FORMATS = (NOVITA, NANOGPT, SCENARIO)

_IDEMPOTENCY = Parameter(
    name="Idempotency-Key",
    where="header",
    about="A name for this submission. Sent again with the same body it returns the first task.",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
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
            "Answers 200 and the id of a task. Null and {} count as absent. A transparent"
            " background needs png."
        ),
        parameters=(_IDEMPOTENCY,),
        body=txt2img.Txt2ImgBody,
        reply=task.SubmitReply,
        refusals={
            ApiErrorCode.BODY_INVALID: (
                "A field is missing, of another type, out of its range, blank, or asks for an image"
                " that could not be stored; metadata.fields names every such field. Or a field"
                " cannot be used here."
            ),
            ApiErrorCode.BODY_TOO_LARGE: "The body is larger than 1 MiB.",
            ApiErrorCode.CONFLICT: "The Idempotency-Key was used for another body.",
            ApiErrorCode.IMAGES_SPENT: DAY,
            ApiErrorCode.UNAVAILABLE: (
                "No image provider is configured, the money of the day is spent, or the list of "
                "models that a transparent background depends on cannot be read."
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
            "PROCESSING while any of its images is undecided, SUCCEED with the approved ones alone,"
            " FAILED with a reason when none passed. extra.moderation says per image: verdict,"
            " categories, who decided."
        ),
        parameters=(
            Parameter(
                name="task_id", about="As the submission returned it.", schema=TEXT, required=True
            ),
        ),
        reply=task.TaskResultReply,
        refusals={ApiErrorCode.NOT_FOUND: "This key has no task of this id."},
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
            "The provider's, or its last answer while it is away. filter[types] is read as"
            " filter.types."
        ),
        query=model_list.ModelsQuery,
        reply=task.ModelsReply,
        refusals={
            ApiErrorCode.BODY_INVALID: "A filter is wrong or unknown; the message names it.",
            ApiErrorCode.UNAVAILABLE: "The list cannot be had now.",
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
            f"The signed address in a reply. No key, {signed_urls.LIFETIME // 60} minutes, and only"
            " while the image is approved: after a reversal it answers 403. Errors are XML."
        ),
        parameters=(
            Parameter(name="token", where="path", about="Signed.", schema=TEXT, required=True),
            Parameter(
                name="extension",
                where="path",
                about="The file type.",
                schema={"type": "string", "enum": list(txt2img.IMAGE_TYPES)},
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
        summary="Judge up to ten images",
        about=(
            "Public addresses and data URLs, in any of the fields, each a string or a list;"
            " answered in input order. Addresses are fetched within"
            f" {instant_classification.FETCH_SECONDS:.0f} seconds together. An image is flagged"
            " when a classifier finds, in a category of the policy's NSFW level, what that policy"
            " would show to a person. false means that the policy would approve it by what our"
            " classifiers can see; it never means that nobody could look: one image that could not"
            " be fetched, decoded or judged, or that is in doubt, fails the call."
        ),
        parameters=(
            Parameter(
                name="review",
                about=(
                    "true also stores the images and puts them into the queue of this server. Ours,"
                    " not nano-gpt's."
                ),
                schema=FLAG,
            ),
        ),
        body=nanogpt.NsfwRequest,
        reply=nanogpt.NsfwReply,
        headers={
            nanogpt_view.CLASSIFIERS_HEADER: "Which classifiers looked.",
            nanogpt_view.ASSETS_HEADER: (
                "With review=true: the ids of the stored images, in input order."
            ),
        },
        refusals={
            ApiErrorCode.BODY_INVALID: (
                "The body is wrong, holds no image, or an image could not be read. Why it could not"
                " is not said."
            ),
            ApiErrorCode.BODY_TOO_LARGE: (
                f"The body is larger than {nanogpt_view.BODY_MAX // MIB} MiB."
            ),
            ApiErrorCode.IMAGES_SPENT: DAY,
            ApiErrorCode.IN_DOUBT: (
                "An image is neither true nor false: what looked at it cannot rule NSFW content"
                " out."
            ),
            ApiErrorCode.UNAVAILABLE: (
                "No classifier in use here could judge an image, or too much is going on."
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
            "What came by this key: the images of its requests and those it sent; with the scope"
            " read:all every "
            "asset of this installation. Newest first unless told. "
            "nsfw is absent until the image is judged, [] when it was approved, labels "
            "when it was rejected. Drugs and tobacco are one category here, so both labels come"
            ' together; "'
            f'{scenario.UNNAMED}" stands for a rejection that names no category. url is signed and'
            " expires, and is empty "
            "for all but approved images. Refused, because it cannot be honoured:"
            f" {', '.join(scenario.NOT_SERVED)}."
        ),
        parameters=(
            Parameter(
                name="pageSize",
                about=f"{scenario_wire.PAGE_SIZE_DEFAULT} unless told.",
                schema={"type": "integer", "minimum": 1, "maximum": scenario_wire.PAGE_SIZE_MAX},
            ),
            Parameter(
                name="paginationToken", about="nextPaginationToken of the page before.", schema=TEXT
            ),
            Parameter(
                name="sortBy",
                about="There is one order.",
                schema={"type": "string", "enum": ["createdAt"]},
            ),
            Parameter(
                name="sortDirection",
                about="asc: oldest first.",
                schema={"type": "string", "enum": ["asc", "desc"]},
            ),
            Parameter(name="createdAfter", about="Exclusive; a date will do.", schema=_MOMENT),
            Parameter(name="createdBefore", about="Exclusive; a date will do.", schema=_MOMENT),
            Parameter(name="type", about="How they came here.", schema=_TYPES),
            Parameter(name="types", about="Several of them, separated by commas.", schema=TEXT),
            Parameter(name="modelId", about="The model's name.", schema=TEXT),
            Parameter(
                name="inferenceId", about="A request, by its id (Novita's task_id).", schema=TEXT
            ),
            Parameter(name="projectId", about="Taken, and changes nothing.", schema=TEXT),
        ),
        reply=scenario_wire.AssetsReply,
        refusals={
            ApiErrorCode.BODY_INVALID: (
                "A parameter is wrong or cannot be honoured; the message names it."
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
            f"The assets of up to {scenario_wire.BULK_MAX} ids, each once, in the order asked for. "
            "An id that this key may not read, or that does not exist, is left out of the answer."
        ),
        parameters=(Parameter(name="projectId", about="Taken, and changes nothing.", schema=TEXT),),
        body=scenario_wire.BulkBody,
        reply=scenario_wire.AssetsReply,
        refusals={
            ApiErrorCode.BODY_INVALID: "assetIds is missing, too long or no list of ids.",
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
            "As in the list, with a fresh address. One that the list would not show is not found."
        ),
        parameters=(
            Parameter(name="assetId", where="path", about="A UUID.", schema=TEXT, required=True),
        ),
        reply=scenario_wire.AssetReply,
        refusals={ApiErrorCode.NOT_FOUND: "There is no asset of this id."},
        example=f"""{_ASSET}
curl -u "$KEY:any" "$LOUPE/v1/assets/$ASSET\"""",
    ),
)

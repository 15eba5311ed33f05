"""What Scenario answers about assets: a page of them, one of them, an error.

Sources: the published client scenario-sdk 2.4.0 (types/asset_list_response.py,
asset_retrieve_response.py, asset_list_params.py, pagination.py) and
https://docs.scenario.com/get-started/documentation/nsfw. Reading is tolerant: only the asset's id
is needed, whatever cannot be read counts as absent, and a label is kept whatever it says. Writing
(``to_wire``) gives every field that the client requires, under its name there.

``nsfw`` is three-valued: absent means that Scenario has not analysed the asset yet, ``[]`` that it
has and found nothing. What is there but is no list proves neither, so it reads as absent. No label
has a score.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.alias_generators import to_camel

from generation.wire.base import WholeNumber, WireModel, is_object

KIND_IMAGE = "image"
STATUS_SUCCESS, STATUS_PENDING, STATUS_ERROR = "success", "pending", "error"
STATUSES = (STATUS_SUCCESS, STATUS_PENDING, STATUS_ERROR)
PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX = 50, 100
BULK_MAX = 200  # ids in one call for several assets
LABELS_MAX = 100
LABEL_LENGTH = 200  # characters
TEXT_LENGTH = 16 * 1024


def _clean(text: str, longest: int = TEXT_LENGTH) -> str:
    """Databases refuse NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:longest]


class _Reply(WireModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )

    def to_wire(self) -> dict[str, Any]:
        """Camel case, and nothing where there is nothing: the client reads absent, not null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class _Tolerant(_Reply):
    @field_validator("*", mode="wrap")
    @classmethod
    def _unreadable_is_absent(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if field.is_required():
            return handler(value)
        try:
            found = handler(value)
        except ValidationError:
            return field.get_default(call_default_factory=True)
        return _clean(found) if isinstance(found, str) else found


class Concept(_Tolerant):
    """A model of several that an image was made with, and how much of it."""

    model_id: str = ""
    scale: float | None = None


class Metadata(_Tolerant):
    """How an asset was made. Of some 120 documented fields those that say so in words and numbers;
    the others hold masks, input images as data URLs and signed addresses, which have no business in
    a database.
    """

    kind: str = ""
    type: str = ""  # inference-txt2img, uploaded, upscale, …
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: str | None = None  # text on the wire, because it may exceed what JavaScript can count
    model_id: str | None = None
    model_type: str | None = None
    base_model_id: str | None = None
    concepts: tuple[Concept, ...] | None = None
    num_inference_steps: WholeNumber | None = None
    guidance: float | None = None
    strength: float | None = None
    scheduler: str | None = None
    width: WholeNumber | None = None
    height: WholeNumber | None = None
    size: WholeNumber | None = None  # bytes
    progress_percent: WholeNumber | None = None
    inference_id: str | None = Field(default=None, description="The request it came from.")
    parent_id: str | None = None
    name: str | None = None


class Properties(_Tolerant):
    width: WholeNumber | None = None
    height: WholeNumber | None = None
    size: WholeNumber | None = Field(default=None, description="Bytes.")


class Asset(_Tolerant):
    id: str = Field(min_length=1, max_length=200, description="A UUID.")
    url: str = Field(
        default="", description="Signed; needs no key; expires. Empty unless approved."
    )
    kind: str = ""  # image, video, audio, 3d, …
    mime_type: str = ""
    # One of STATUSES, or a newer one.
    status: str = Field(default="", description="pending until the image is decided, then success.")
    nsfw: tuple[str, ...] | None = Field(
        default=None, description="Absent: not judged yet. []: approved. Labels: rejected."
    )
    metadata: Metadata = Field(default_factory=Metadata)
    properties: Properties = Field(default_factory=Properties)
    owner_id: str = ""  # the project
    author_id: str = ""
    created_at: str = ""
    updated_at: str = ""
    description: str | None = None
    privacy: str = "private"
    source: str = ""
    tags: tuple[str, ...] = ()
    collection_ids: tuple[str, ...] = ()
    edit_capabilities: tuple[str, ...] = ()

    @field_validator("nsfw", mode="before")
    @classmethod
    def _keep_every_label(cls, value: Any) -> Any:
        """A label that is no text is kept as JSON: unknown, but not lost."""
        if not isinstance(value, list | tuple):
            return value
        labels = (
            entry if isinstance(entry, str) else json.dumps(entry) for entry in value[:LABELS_MAX]
        )
        return tuple(_clean(label, LABEL_LENGTH) for label in labels)

    def to_wire(self) -> dict[str, Any]:
        asset = super().to_wire()
        if self.nsfw is not None:
            asset["nsfw"] = list(self.nsfw)
        return asset


class AssetsReply(_Reply):
    """The answer to ``GET /v1/assets``. A page may be empty and still name a next one."""

    assets: tuple[Asset, ...]
    next_pagination_token: str | None = None
    unreadable: int = Field(default=0, exclude=True)  # entries without a usable id

    @classmethod
    def read(cls, answer: object) -> AssetsReply:
        """Raises ValueError when this is no page of assets; an entry that is no asset is only
        counted.
        """
        if not is_object(answer) or not isinstance(answer.get("assets"), list):
            raise ValueError("This is no page of assets.")
        assets: list[Asset] = []
        for row in answer["assets"]:
            try:
                assets.append(Asset.model_validate(row))
            except ValidationError:
                continue
        token = answer.get("nextPaginationToken")
        if not isinstance(token, str | int | None) or isinstance(token, bool):
            raise ValueError("The token of the next page is no text.")
        return cls(
            assets=tuple(assets),
            next_pagination_token="" if token is None else str(token),
            unreadable=len(answer["assets"]) - len(assets),
        )

    def to_wire(self) -> dict[str, Any]:
        page: dict[str, Any] = {"assets": [asset.to_wire() for asset in self.assets]}
        if self.next_pagination_token:
            page["nextPaginationToken"] = self.next_pagination_token
        return page


class AssetReply(_Reply):
    """The answer to ``GET /v1/assets/{assetId}``."""

    asset: Asset

    def to_wire(self) -> dict[str, Any]:
        return {"asset": self.asset.to_wire()}


class BulkBody(BaseModel):
    """The body of ``POST /v1/assets/get-bulk``."""

    model_config = ConfigDict(extra="ignore", strict=True)

    assetIds: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(max_length=BULK_MAX)


class ErrorReply(_Tolerant):
    """The body of an answer that is not 200. Its shape is not documented: the client passes it on
    as it comes.
    """

    reason: str = ""
    message: str = ""

    @classmethod
    def read(cls, answer: object) -> ErrorReply:
        """Reads the shapes in use: {message}, {error: "…"}, {error: {code, message}}, {apiError,
        reason}.
        """
        if not is_object(answer):
            return cls()
        inner = answer.get("error")
        nested = inner if is_object(inner) else {}
        texts = (
            answer.get("message"),
            nested.get("message"),
            answer.get("reason"),
            inner,
            answer.get("apiError"),
        )
        codes = (answer.get("code"), nested.get("code"), answer.get("apiError"), inner)
        first = [
            next((text for text in row if isinstance(text, str) and text), "")
            for row in (codes, texts)
        ]
        return cls(reason=first[0], message=first[1])

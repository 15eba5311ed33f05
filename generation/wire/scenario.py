"""Scenario's replies about assets: a page of assets, one asset, an error.

Sources: the published client scenario-sdk 2.4.0 (types/asset_list_response.py,
asset_retrieve_response.py, asset_list_params.py, pagination.py) and
https://docs.scenario.com/get-started/documentation/nsfw. Reading is tolerant: only the id of an
asset is required, unreadable values count as absent, and unknown labels are kept. ``to_wire``
writes every field that the client requires, under its name there.

``nsfw`` has three states: absent means that Scenario has not analysed the asset yet, ``[]`` that it
found nothing, and a list contains the labels found. A value that is no list counts as absent.
Labels have no score.
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
    """Replace characters that databases refuse: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:longest]


class _Reply(WireModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )

    def to_wire(self) -> dict[str, Any]:
        """Return JSON in camel case without null, because the client expects absent values."""
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
    """One of several models that made an image, with its scale."""

    model_id: str = ""
    scale: float | None = None


class Metadata(_Tolerant):
    """The generation parameters of an asset: the texts and numbers among some 120 fields.

    The other fields contain masks, input images as data URLs, and signed URLs, which are not
    stored.
    """

    kind: str = ""
    type: str = ""  # inference-txt2img, uploaded, upscale, …
    prompt: str | None = None
    negative_prompt: str | None = None
    seed: str | None = None  # text, because it may exceed the exact integers of JavaScript
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
    inference_id: str | None = Field(default=None, description="Request that generated it.")
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
        default=None, description="Absent: not decided yet. []: approved. Labels: rejected."
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
        """Keep a label that is no text as JSON, so that it counts as an unknown label."""
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
    """The reply to ``GET /v1/assets``. An empty page may have a next page."""

    assets: tuple[Asset, ...]
    next_pagination_token: str | None = None
    unreadable: int = Field(default=0, exclude=True)  # entries without a usable id

    @classmethod
    def read(cls, answer: object) -> AssetsReply:
        """Read a page. Entries that are no assets are counted.

        Raises ValueError when the reply is no page of assets.
        """
        if not is_object(answer) or not isinstance(answer.get("assets"), list):
            raise ValueError("This is not a page of assets.")
        assets: list[Asset] = []
        for row in answer["assets"]:
            try:
                assets.append(Asset.model_validate(row))
            except ValidationError:
                continue
        token = answer.get("nextPaginationToken")
        if not isinstance(token, str | int | None) or isinstance(token, bool):
            raise ValueError("The token of the next page is not a string.")
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
    """The reply to ``GET /v1/assets/{assetId}``."""

    asset: Asset

    def to_wire(self) -> dict[str, Any]:
        return {"asset": self.asset.to_wire()}


class BulkBody(BaseModel):
    """The body of ``POST /v1/assets/get-bulk``."""

    model_config = ConfigDict(extra="ignore", strict=True)

    assetIds: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(max_length=BULK_MAX)


class ErrorReply(_Tolerant):
    """The body of a reply that is not 200. Its form is undocumented."""

    reason: str = ""
    message: str = ""

    @classmethod
    def read(cls, answer: object) -> ErrorReply:
        """Read an error.

        Observed forms: {message}, {error: "…"}, {error: {code, message}}, {apiError, reason}.
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

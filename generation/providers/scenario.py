"""Client for Scenario's assets: list and single asset.

Same calls as the published client scenario-sdk 2.4.0 (resources/assets/assets.py, _client.py):
``GET /v1/assets`` and ``/v1/assets/{assetId}``, Basic authentication with key and secret,
pagination by an opaque token. Image URLs contain a signature in their query string, so no message
here includes one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from generation.providers.base import ProviderBusyError, ProviderRejectedError
from generation.providers.http import KEY_MIN, Answer, Call, HttpProvider
from generation.wire import scenario as wire
from generation.wire.secrets import redact, without_secrets
from generation.wire.task import ErrorReply

ASSETS_PATH = "/assets"


class AssetNotFoundError(ProviderRejectedError):
    """The asset does not exist in Scenario or is not visible to this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioAsset:
    """An asset of Scenario."""

    id: str
    url: str  # signed: fetch it immediately, never store or print it
    mime_type: str
    kind: str
    status: str  # success, pending, error, or a newer value
    nsfw: tuple[str, ...] | None  # None: not analysed yet; (): analysed, no findings
    project: str = ""
    created_at: str = ""
    description: str = ""
    # Generation parameters, under Scenario's names.
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        """True if Scenario's fields describe an image that may be decodable."""
        kind_fits = self.kind in ("", wire.KIND_IMAGE)
        return kind_fits and (
            self.mime_type.startswith("image/") or (not self.mime_type and self.kind != "")
        )

    @property
    def is_ready(self) -> bool:
        return self.status not in (wire.STATUS_PENDING, wire.STATUS_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPage:
    """One page of Scenario's assets."""

    items: tuple[ScenarioAsset, ...]
    next_token: str = ""  # empty on the last page; an empty page may have one
    unreadable: int = 0  # entries that could not be parsed


class Scenario(HttpProvider):
    """Scenario, or a service with its wire format at ``base_url`` (which ends in /v1).

    Creates no connection until a call.
    """

    def __init__(
        self, *, api_key: str, api_secret: str, base_url: str, label: str, slug: str = "scenario"
    ) -> None:
        credentials = base64.b64encode(f"{api_key}:{api_secret}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        super().__init__(
            slug=slug, label=label, base_url=base_url, secret=api_secret, headers=headers
        )
        self._hidden = tuple(
            text for text in (credentials, api_secret, api_key) if len(text) >= KEY_MIN
        )

    def list_assets(
        self, token: str = "", *, page_size: int = wire.PAGE_SIZE_DEFAULT, project: str = ""
    ) -> AssetPage:
        """Return one page, oldest first, so that new assets come last.

        Raises ProviderError.
        """
        params = {
            "pageSize": str(min(max(page_size, 1), wire.PAGE_SIZE_MAX)),
            "sortBy": "createdAt",
            "sortDirection": "asc",
        }
        if token:
            params["paginationToken"] = token
        if project:
            params["projectId"] = project
        answer = self.get(ASSETS_PATH, params)
        try:
            page = wire.AssetsReply.read(answer.json())
        except ValueError:
            raise ProviderBusyError(
                f"{self.label} answered about its assets in a way that could not be read."
            ) from None
        return AssetPage(
            items=tuple(map(_convert_asset, page.assets)),
            next_token=page.next_pagination_token or "",
            unreadable=page.unreadable,
        )

    def get_asset(self, asset_id: str, *, project: str = "") -> ScenarioAsset:
        """Return one asset with a new URL.

        Raises AssetNotFoundError or another ProviderError.
        """
        params = {"projectId": project} if project else {}
        answer = self._send(
            Call.READ, "GET", f"{ASSETS_PATH}/{quote(asset_id, safe='')}", params=params
        )
        if answer.status == 404:
            raise AssetNotFoundError(
                f"{self.label} has no such asset.",
                reason=self._error_reply(answer).reason,
            )
        self._raise_for_status(answer, Call.READ)
        try:
            found = wire.AssetReply.model_validate(answer.json()).asset
        except ValueError:
            raise ProviderBusyError(
                f"{self.label} answered about an asset in a way that could not be read."
            ) from None
        if found.id != asset_id:
            raise ProviderBusyError(f"{self.label} returned another asset than the requested one.")
        return _convert_asset(found)

    def check(self) -> None:
        """Verify the key with one harmless call: a page of one asset.

        Raises ProviderError.
        """
        self.list_assets(page_size=1)

    def _error_reply(self, answer: Answer) -> ErrorReply:
        try:
            reply = wire.ErrorReply.read(answer.json())
        except ValueError:
            return ErrorReply()
        return ErrorReply(reason=self._redact(reply.reason)[:80], message=reply.message)

    def _redact(self, text: str) -> str:
        """Remove the key and signatures of URLs from a text."""
        for secret in self._hidden:
            text = text.replace(secret, "[key]")
        return redact(text)


def _convert_asset(found: wire.Asset) -> ScenarioAsset:
    provenance = found.metadata.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"kind"}
    )
    pending = found.status in (wire.STATUS_PENDING, wire.STATUS_ERROR)
    return ScenarioAsset(
        id=found.id,
        url=found.url,
        mime_type=found.mime_type.lower(),
        kind=found.kind or found.metadata.kind,
        status=found.status,
        # An empty list says nothing while the asset is not ready.
        nsfw=None if pending and not found.nsfw else found.nsfw,
        project=found.owner_id,
        created_at=found.created_at,
        description=redact(found.description or ""),
        provenance=without_secrets(
            {name: value for name, value in provenance.items() if value not in ("", [])}
        ),
    )

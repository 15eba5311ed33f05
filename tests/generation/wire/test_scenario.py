"""Scenario's wire format, read tolerantly and written exactly."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from generation.wire.scenario import Asset, AssetReply, AssetsReply, ErrorReply, Metadata

# Fields that the published client (2.4.0) requires in an asset.
REQUIRED = {
    "id",
    "authorId",
    "collectionIds",
    "createdAt",
    "editCapabilities",
    "kind",
    "metadata",
    "mimeType",
    "ownerId",
    "privacy",
    "properties",
    "source",
    "status",
    "tags",
    "updatedAt",
    "url",
}


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({}, None),
        ({"nsfw": None}, None),
        ({"nsfw": []}, ()),
        ({"nsfw": ["violence", "new_thing"]}, ("violence", "new_thing")),
        ({"nsfw": "violence"}, None),
        ({"nsfw": {}}, None),
        ({"nsfw": {"explicit": 0.9}}, None),
        ({"nsfw": [7, {"name": "gore"}, None]}, ("7", '{"name": "gore"}', "null")),
        ({"nsfw": ["a\x00b", "\ud800"]}, ("ab", "?")),
        ({"nsfw": ["x" * 500]}, ("x" * 200,)),
    ],
)
def test_labels_are_read_as_none_empty_or_unchanged(
    said: dict[str, Any], read: tuple[str, ...] | None
) -> None:
    assert Asset.model_validate({"id": "a", **said}).nsfw == read


def test_asset_requires_only_an_id() -> None:
    assert Asset.model_validate({"id": "a"}).url == ""
    for said in ({}, {"id": ""}, {"id": None}, {"id": ["a"]}, {"id": "a" * 201}, [], None, "a"):
        with pytest.raises(ValidationError):
            Asset.model_validate(said)


@pytest.mark.parametrize(
    "value", [[], "x", 7, {"prompt": 5, "seed": 12, "guidance": "much", "concepts": "none"}, None]
)
def test_unreadable_metadata_is_ignored(value: Any) -> None:
    read = Asset.model_validate({"id": "a", "metadata": value}).metadata

    assert read.guidance is None
    assert read.concepts is None


def test_metadata_keeps_parameters_and_drops_input_images() -> None:
    said = {
        "prompt": "p",
        "seed": "602245905551964461",
        "image": "data:image/png;base64,x",
        "thumbnail": {"url": "u"},
    }

    assert Metadata.model_validate(said).to_wire() == {
        "kind": "",
        "type": "",
        "prompt": "p",
        "seed": said["seed"],
    }


def test_infinite_number_is_read_as_none() -> None:
    assert Metadata.model_validate({"guidance": float("inf")}).guidance is None


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "x",
        {},
        {"assets": None},
        {"assets": {}},
        {"assets": [], "nextPaginationToken": []},
    ],
)
def test_invalid_page_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match="page"):
        AssetsReply.read(said)


@pytest.mark.parametrize(("token", "read"), [(None, ""), ("", ""), ("abc", "abc"), (7, "7")])
def test_next_page_token_is_read_as_text(token: Any, read: str) -> None:
    assert (
        AssetsReply.read({"assets": [], "nextPaginationToken": token}).next_pagination_token == read
    )


def test_invalid_entry_is_counted_and_other_assets_are_read() -> None:
    page = AssetsReply.read({"assets": [None, {"id": "a"}, 7, {"id": "b"}, {}]})

    assert [asset.id for asset in page.assets] == ["a", "b"]
    assert page.unreadable == 3


def test_written_asset_has_every_field_that_the_client_requires() -> None:
    wire = AssetReply(asset=Asset(id="a", url="u", nsfw=())).to_wire()

    assert set(wire["asset"]) >= REQUIRED
    assert set(wire["asset"]["metadata"]) >= {"kind", "type"}
    assert wire["asset"]["nsfw"] == []


def test_absent_labels_and_absent_page_token_are_not_written() -> None:
    page = AssetsReply(assets=(Asset(id="a"),), next_pagination_token="").to_wire()

    assert "nsfw" not in page["assets"][0]
    assert set(page) == {"assets"}
    assert AssetsReply(assets=(), next_pagination_token="t").to_wire() == {
        "assets": [],
        "nextPaginationToken": "t",
    }


def test_written_page_reads_back_unchanged() -> None:
    asset = Asset(
        id="a", nsfw=("violence",), metadata=Metadata(kind="image", prompt="p"), tags=("t",)
    )
    page = AssetsReply(assets=(asset,), next_pagination_token="t")

    assert AssetsReply.read(page.to_wire()) == page


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"message": "m"}, ("", "m")),
        ({"error": "Bad Request", "message": "m"}, ("Bad Request", "m")),
        ({"error": {"code": "C", "message": "m"}}, ("C", "m")),
        ({"apiError": "NotFound", "reason": "gone"}, ("NotFound", "gone")),
        ({"error": 7, "message": ["x"]}, ("", "")),
        ([], ("", "")),
        (None, ("", "")),
    ],
)
def test_errors_of_any_shape_are_read(said: Any, read: tuple[str, str]) -> None:
    found = ErrorReply.read(said)

    assert (found.reason, found.message) == read

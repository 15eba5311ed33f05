"""Scenario's asset endpoints: plain requests, this project's client and Scenario's client."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from generation.models import Asset, GenerationRequest, Source
from generation.providers.scenario import AssetNotFoundError, Scenario
from moderation import taxonomy
from moderation.api import scenario
from moderation.external_labels import SCENARIO_API, resolve
from moderation.models import Policy, Review, Verdict
from moderation.services import decisions
from moderation.services.audit_log import record_decision
from tests.moderation.api.calls import make_key
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> str:
    return make_key("read:all", calls_per_minute=10_000)


def get(key: str, path: str = "/v1/assets", secret: str = "anything", **query: Any) -> HttpResponse:
    basic = base64.b64encode(f"{key}:{secret}".encode()).decode()
    return Client().get(path, query, headers={"authorization": f"Basic {basic}"})


@transaction.atomic
def decide_by_policy(review: Review, verdict: Verdict, *categories: str) -> Asset:
    """Record a decision of the policy."""
    decision = record_decision(
        review=review,
        verdict=verdict,
        categories=categories,
        policy_id=Policy.objects.active().pk,
        by_policy=True,
    )
    status = Review.Status.APPROVED if verdict == Verdict.APPROVE else Review.Status.REJECTED
    review.move_to(status, decided_at=decision.created_at)
    return review.asset


@pytest.fixture
def three_assets(make_review: Callable[..., Review]) -> tuple[Asset, Asset, Asset]:
    """Return an approved, a rejected and an undecided asset, oldest first."""
    return (
        decide_by_policy(make_review(), Verdict.APPROVE),
        decide_by_policy(make_review(), Verdict.REJECT, "violence.weapons", "explicit.nudity"),
        make_review().asset,
    )


# --- The format ---
def test_nsfw_is_absent_if_undecided_empty_if_approved_labels_if_rejected(
    key: str, three_assets: Any
) -> None:
    page = get(key).json()

    undecided, rejected, approved = page["assets"]
    assert [row["id"] for row in page["assets"]] == [
        str(asset.uuid) for asset in reversed(three_assets)
    ]
    assert "nsfw" not in undecided
    assert (rejected["nsfw"], approved["nsfw"]) == (["violence", "explicit"], [])
    assert [row["status"] for row in page["assets"]] == ["pending", "success", "success"]
    assert "nextPaginationToken" not in page


def test_only_approved_assets_have_a_url_and_it_needs_no_key(key: str, three_assets: Any) -> None:
    undecided, rejected, approved = get(key).json()["assets"]

    assert undecided["url"] == rejected["url"] == ""
    answer = Client().get(approved["url"].removeprefix("http://127.0.0.1:8000"))
    assert answer.status_code == 200
    with three_assets[0].original.open("rb") as file:
        assert b"".join(answer.streaming_content) == file.read()
    answer.close()


def test_reversal_removes_labels_and_url(key: str, make_review: Any, senior: User) -> None:
    review = make_review()
    decisions.claim(review=review, user=senior)
    decision = decisions.decide(review=review, user=senior, verdict=Verdict.APPROVE)
    assert get(key).json()["assets"][0]["nsfw"] == []

    decisions.reverse(decision=decision, user=senior)

    row = get(key).json()["assets"][0]
    assert "nsfw" not in row
    assert (row["url"], row["status"]) == ("", "pending")


def test_undone_second_opinion_leaves_the_labels_of_the_first_decision(
    key: str, make_review: Any, moderator: User, senior: User, settings: Any
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    review = make_review()
    judge(review, moderator, Verdict.REJECT)
    second = judge(review, senior, Verdict.REJECT)

    decisions.reverse(decision=second, user=senior)

    row = get(key).json()["assets"][0]
    assert (row["status"], row["nsfw"]) == ("success", ["violence"])


@pytest.mark.parametrize(
    ("categories", "labels"),
    [
        (["drugs-tobacco.products"], ["drugs", "tobacco"]),
        (["swimwear-underwear.female", "swimwear-underwear.male"], ["swimwear_underwear"]),
        (["hate-symbols.nazi", "gambling"], ["hate_symbols", "gambling"]),
        ([], ["rejected"]),
        (["a category of the past"], ["rejected"]),
    ],
)
def test_rejected_asset_always_has_labels(
    key: str, make_review: Any, categories: Any, labels: Any
) -> None:
    decide_by_policy(make_review(), Verdict.REJECT, *categories)

    assert get(key).json()["assets"][0]["nsfw"] == labels


def test_labels_of_every_category_resolve_to_that_category() -> None:
    assert set(scenario.LABELS) == {category.slug for category in taxonomy.L1}
    assert {label for labels in scenario.LABELS.values() for label in labels} == set(SCENARIO_API)
    for slug, labels in scenario.LABELS.items():
        assert labels
        assert {resolve(label) for label in labels} == {taxonomy.get(slug)}
    assert resolve(scenario.UNNAMED) is None


def test_asset_has_metadata_of_its_request(
    key: str, make_asset: Any, make_request: Callable[..., GenerationRequest]
) -> None:
    request = make_request(image_num=2, seed=41, negative_prompt="fog")
    asset = make_asset(source=Source.TXT2IMG, request=request, position=0)

    row = get(key, f"/v1/assets/{asset.uuid}").json()["asset"]

    assert row["metadata"] == {
        "kind": "image",
        "type": "inference-txt2img",
        "prompt": request.prompt,
        "negativePrompt": "fog",
        "seed": "41",
        "modelId": request.model_name,
        "numInferenceSteps": 20,
        "guidance": 7.5,
        "scheduler": "Euler a",
        "width": 160,
        "height": 120,
        "size": asset.size,
        "progressPercent": 100,
        "inferenceId": str(request.uuid),
    }
    assert (row["mimeType"], row["kind"], row["ownerId"]) == (
        f"image/{asset.image_type}",
        "image",
        "loupe",
    )
    assert row["properties"] == {"width": 160.0, "height": 120.0, "size": float(asset.size)}
    assert datetime.fromisoformat(row["createdAt"]) == asset.created_at.replace(
        microsecond=asset.created_at.microsecond // 1000 * 1000
    )


# --- Pages ---
def list_all_ids(key: str, **query: Any) -> list[str]:
    found, token = [], ""
    while True:
        page = get(key, **query, **({"paginationToken": token} if token else {})).json()
        found += [row["id"] for row in page["assets"]]
        token = page.get("nextPaginationToken", "")
        if not token:
            return found


def test_pages_list_every_asset_once(key: str, make_review: Any) -> None:
    assets = [make_review().asset for _ in range(7)]
    # Three assets with the same timestamp: only the second sort key distinguishes them.
    Asset.objects.filter(pk__in=[asset.pk for asset in assets[2:5]]).update(
        created_at=assets[2].created_at
    )
    ids = [str(asset.uuid) for asset in assets]

    assert list_all_ids(key, pageSize=2, sortDirection="asc") == ids
    assert list_all_ids(key, pageSize=3) == list_all_ids(key, pageSize=7) == ids[::-1]


def test_new_asset_does_not_shift_pages(key: str, make_review: Any) -> None:
    ids = [str(make_review().asset.uuid) for _ in range(4)]
    first = get(key, pageSize=2).json()
    make_review()

    second = get(key, pageSize=2, paginationToken=first["nextPaginationToken"]).json()

    assert [row["id"] for page in (first, second) for row in page["assets"]] == ids[::-1]


def test_supported_filters_narrow_the_list(
    key: str, make_review: Any, make_asset: Any, make_request: Any
) -> None:
    old = make_review().asset
    Asset.objects.filter(pk=old.pk).update(created_at=datetime(2026, 1, 5, tzinfo=UTC))
    request = make_request()
    new = make_asset(source=Source.TXT2IMG, request=request, position=0)
    both = [str(new.uuid), str(old.uuid)]

    def ids(**query: Any) -> list[str]:
        return list_all_ids(key, **query)

    assert ids(createdBefore="2026-01-06") == ids(createdBefore="2026-01-05T00:00:01Z") == both[1:]
    assert ids(createdAfter="2026-01-05T00:00:00.000Z") == both[:1]
    assert ids(type="inference-txt2img") == ids(types="inference-txt2img,upscale") == both[:1]
    assert ids(types="uploaded,inference-txt2img") == both
    assert ids(type="txt2video") == ids(inferenceId="nobody") == ids(modelId="none") == []
    assert ids(inferenceId=request.uuid) == ids(modelId=request.model_name) == both[:1]
    assert ids(projectId="any", originalAssets="true", privacy="private", deleted="false") == both


def _token(key: str) -> str:
    return str(get(key, pageSize=1).json()["nextPaginationToken"])


def test_unsupported_queries_return_400(key: str, three_assets: Any) -> None:
    token = _token(key)
    queries: list[dict[str, str]] = [
        *(
            {"pageSize": size}
            for size in ("0", "101", "-1", "1.5", "x", "٣", "9" * 5000, "0000000001000", " 5")
        ),
        *(
            {"paginationToken": bad}
            for bad in ("x", "é", "\0", token[:-4], token[4:], token + "AAAA", "e30=", "=")
        ),
        {"paginationToken": token, "sortDirection": "asc"},
        {
            "paginationToken": base64.urlsafe_b64encode(
                b'["2026-01-01T00:00:00+00:00", 1, true]:forged'
            ).decode()
        },
        {"sortBy": "updatedAt"},
        {"sortBy": "size"},
        {"sortDirection": "up"},
        {"privacy": "public"},
        {"deleted": "true"},
        {"collectionId": "c"},
        {"authorId": "a"},
        {"tags": "a,b"},
        {"updatedAfter": "2026-01-01"},
        *(
            {"createdAfter": bad}
            for bad in ("yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", "\0", "1" * 5000)
        ),
    ]
    for query in queries:
        answer = get(key, **query)
        assert (answer.status_code, set(answer.json())) == (400, {"error", "message"}), (
            query,
            answer.content,
        )
    assert get(key, modelId="\0", type="\0").status_code == 200


# --- Permissions ---
def test_key_with_scope_read_all_lists_every_asset(
    three_assets: Any, make_asset: Any, make_request: Any, moderator: User
) -> None:
    make_asset(source=Source.TXT2IMG, request=make_request(requested_by=moderator), position=0)
    make_asset(source=Source.API, stored_by_id=moderator.pk)

    assert [len(get(make_key("read:all")).json()["assets"]) for _ in range(2)] == [5, 5]


def test_errors_have_a_body_with_error_and_message(
    key: str, three_assets: Any, admin: User
) -> None:
    browser = Client()
    browser.force_login(admin)
    refusals = {
        401: [
            get("wrong"),
            browser.get("/v1/assets"),
            get("", f"/v1/assets/{three_assets[0].uuid}"),
        ],
        403: [get(make_key("generate", "classify"))],
        404: [
            get(key, f"/v1/assets/{name}")
            for name in ("x", "\0", "asset_1", "0" * 32, f"{three_assets[0].uuid}x")
        ],
        405: [Client().post("/v1/assets", {}, headers={"x-api-key": key})],
        429: [get(make_key("read:all", calls_per_minute=0))],
    }
    for status, answers in refusals.items():
        for answer in answers:
            assert answer.status_code == status
            assert set(answer.json()) == {"error", "message"}
    for path in ("/v1/models", "/v1/", "/v1/assets/x/y", "/v1/a\nb", "/v1/assets/"):
        assert get(key, path).json()["message"] == "Loupe has no such endpoint."
    assert get(key, f"/v1/assets/{three_assets[0].uuid}", secret="").status_code == 200


# --- Several assets in one call ---
def get_bulk(key: str, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(enforce_csrf_checks=True).post(
        "/v1/assets/get-bulk", raw, content_type="application/json", headers={"x-api-key": key}
    )


def test_get_bulk_returns_assets_in_requested_order(key: str, three_assets: Any) -> None:
    ids = [str(asset.uuid) for asset in three_assets]
    asked = [ids[2], "asset_nobody", ids[0], str(uuid.uuid4()), ids[2]]

    found = get_bulk(key, {"assetIds": asked}).json()

    assert list(found) == ["assets"]
    assert [asset["id"] for asset in found["assets"]] == [ids[2], ids[0]]
    assert get_bulk(key, {"assetIds": []}).json() == {"assets": []}
    assert [asset.get("nsfw") for asset in found["assets"]] == [None, []]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        [],
        None,
        {},
        {"assetIds": None},
        {"assetIds": "x"},
        {"assetIds": [1]},
        {"assetIds": [""]},
        {"assetIds": ["x" * 201]},
        {"assetIds": ["x"] * 201},
        {"assetIds": ["a\0b"]},
        {"asset_ids": ["x"]},
    ],
)
def test_get_bulk_with_invalid_body_returns_400(key: str, body: Any) -> None:
    answer = get_bulk(key, body)

    assert (answer.status_code, set(answer.json())) == (400, {"error", "message"})


def test_get_bulk_needs_a_key_with_read_scope(three_assets: Any) -> None:
    assert get_bulk("wrong", {"assetIds": []}).status_code == 401
    assert get_bulk(make_key("generate"), {"assetIds": []}).status_code == 403
    assert get(make_key("read:all"), "/v1/assets/get-bulk").status_code == 405


# --- Clients ---
def test_scenario_client_parses_responses(
    live_server: Any, key: str, three_assets: Any, settings: Any
) -> None:
    client = Scenario(
        api_key=key, api_secret="any", base_url=f"{live_server.url}/v1", label="Loupe"
    )

    page = client.list_assets(page_size=2)
    rest = client.list_assets(page.next_token, page_size=2)

    assert [found.nsfw for found in (*page.items, *rest.items)] == [
        (),
        ("violence", "explicit"),
        None,
    ]
    assert [found.is_ready for found in (*page.items, *rest.items)] == [True, True, False]
    with pytest.raises(AssetNotFoundError):
        client.get_asset("asset_nobody")


def test_published_client_works_unmodified(live_server: Any, key: str, three_assets: Any) -> None:
    sdk = pytest.importorskip(
        "scenario_sdk", reason="scenario-sdk, the published client, is not installed"
    )
    ids = [str(asset.uuid) for asset in three_assets]
    with sdk.Scenario(
        api_key=key, api_secret="any", base_url=f"{live_server.url}/v1", max_retries=0
    ) as client:
        assert [asset.id for asset in client.assets.list(page_size=2)] == ids[::-1]
        assert [asset.id for asset in client.assets.list(page_size=1, sort_direction="asc")] == ids
        assert [
            asset.id
            for asset in client.assets.list(types=["uploaded", "upscale"], sort_by="createdAt")
        ] == ids[::-1]
        found = [client.assets.retrieve(name).asset for name in ids]
        assert [asset.nsfw for asset in found] == [[], ["violence", "explicit"], None]
        assert found[0].metadata.type == "uploaded"
        assert found[0].properties.width == 160
        with pytest.raises(sdk.NotFoundError):
            client.assets.retrieve("asset_nobody")
        with pytest.raises(sdk.BadRequestError):
            client.assets.list(pagination_token="nonsense")
    strict = sdk.Scenario(
        api_key=key,
        api_secret="any",
        base_url=f"{live_server.url}/v1",
        _strict_response_validation=True,
        max_retries=0,
    )
    with strict as client:
        assert [asset.id for asset in client.assets.list()] == ids[::-1]
        assert client.assets.retrieve(ids[0]).asset.created_at.endswith("Z")
        several = client.assets.get_bulk(asset_ids=ids).assets
        assert [asset.id for asset in several] == ids
        assert [asset.nsfw for asset in several] == [[], ["violence", "explicit"], None]
        assert several[0].metadata.size == several[0].properties.size
    late = make_key("read:all", expires_at=datetime.now(UTC) - timedelta(days=1))
    for wrong in ("wrong", late):
        client = sdk.Scenario(
            api_key=wrong, api_secret="any", base_url=f"{live_server.url}/v1", max_retries=0
        )
        with client, pytest.raises(sdk.AuthenticationError):
            client.assets.list()

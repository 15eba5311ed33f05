"""Scenario's listing of assets, by hand, by our own client, and by Scenario's published one."""

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

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> str:
    return make_key("read:all", calls_per_minute=10_000)


def get(key: str, path: str = "/v1/assets", secret: str = "anything", **query: Any) -> HttpResponse:
    basic = base64.b64encode(f"{key}:{secret}".encode()).decode()
    return Client().get(path, query, headers={"authorization": f"Basic {basic}"})


@transaction.atomic
def settle(review: Review, verdict: Verdict, *categories: str) -> Asset:
    """As the policy would."""
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
def three(make_review: Callable[..., Review]) -> tuple[Asset, Asset, Asset]:
    """One approved, one rejected, one undecided; oldest first."""
    return (
        settle(make_review(), Verdict.APPROVE),
        settle(make_review(), Verdict.REJECT, "violence.weapons", "explicit.nudity"),
        make_review().asset,
    )


# --- The format ---
def test_nsfw_is_absent_until_judged_empty_when_approved_and_labels_when_rejected(
    key: str, three: Any
) -> None:
    page = get(key).json()

    undecided, rejected, approved = page["assets"]
    assert [row["id"] for row in page["assets"]] == [str(asset.uuid) for asset in reversed(three)]
    assert "nsfw" not in undecided
    assert (rejected["nsfw"], approved["nsfw"]) == (["violence", "explicit"], [])
    assert [row["status"] for row in page["assets"]] == ["pending", "success", "success"]
    assert "nextPaginationToken" not in page


def test_only_approved_assets_have_an_address_and_it_needs_no_key(key: str, three: Any) -> None:
    undecided, rejected, approved = get(key).json()["assets"]

    assert undecided["url"] == rejected["url"] == ""
    answer = Client().get(approved["url"].removeprefix("http://127.0.0.1:8000"))
    assert answer.status_code == 200
    with three[0].rendition.open("rb") as file:
        assert b"".join(answer.streaming_content) == file.read()  # type: ignore[attr-defined]
    answer.close()


def test_a_reversed_decision_takes_labels_and_address_back(
    key: str, make_review: Any, senior: User
) -> None:
    review = make_review()
    decisions.claim(review=review, user=senior)
    decision = decisions.decide(review=review, user=senior, verdict=Verdict.APPROVE)
    assert get(key).json()["assets"][0]["nsfw"] == []

    decisions.reverse(decision=decision, user=senior)

    row = get(key).json()["assets"][0]
    assert "nsfw" not in row
    assert (row["url"], row["status"]) == ("", "pending")


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
def test_a_rejection_is_never_an_empty_list(
    key: str, make_review: Any, categories: Any, labels: Any
) -> None:
    settle(make_review(), Verdict.REJECT, *categories)

    assert get(key).json()["assets"][0]["nsfw"] == labels


def test_every_category_has_labels_that_mean_it_again() -> None:
    assert set(scenario.LABELS) == {category.slug for category in taxonomy.L1}
    assert {label for labels in scenario.LABELS.values() for label in labels} == set(SCENARIO_API)
    for slug, labels in scenario.LABELS.items():
        assert labels
        assert {resolve(label) for label in labels} == {taxonomy.get(slug)}
    assert resolve(scenario.UNNAMED) is None


def test_an_asset_tells_how_it_was_made(
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
def walk(key: str, **query: Any) -> list[str]:
    found, token = [], ""
    while True:
        page = get(key, **query, **({"paginationToken": token} if token else {})).json()
        found += [row["id"] for row in page["assets"]]
        token = page.get("nextPaginationToken", "")
        if not token:
            return found


def test_pages_neither_lose_nor_repeat_an_asset(key: str, make_review: Any) -> None:
    assets = [make_review().asset for _ in range(7)]
    # Several of one moment: only the second key of the order tells them apart.
    Asset.objects.filter(pk__in=[asset.pk for asset in assets[2:5]]).update(
        created_at=assets[2].created_at
    )
    ids = [str(asset.uuid) for asset in assets]

    assert walk(key, pageSize=2, sortDirection="asc") == ids
    assert walk(key, pageSize=3) == walk(key, pageSize=7) == ids[::-1]


def test_what_is_added_meanwhile_moves_no_page(key: str, make_review: Any) -> None:
    ids = [str(make_review().asset.uuid) for _ in range(4)]
    first = get(key, pageSize=2).json()
    make_review()

    second = get(key, pageSize=2, paginationToken=first["nextPaginationToken"]).json()

    assert [row["id"] for page in (first, second) for row in page["assets"]] == ids[::-1]


def test_filters_that_are_served_filter(
    key: str, make_review: Any, make_asset: Any, make_request: Any
) -> None:
    old = make_review().asset
    Asset.objects.filter(pk=old.pk).update(created_at=datetime(2026, 1, 5, tzinfo=UTC))
    request = make_request()
    new = make_asset(source=Source.TXT2IMG, request=request, position=0)
    both = [str(new.uuid), str(old.uuid)]

    def ids(**query: Any) -> list[str]:
        return walk(key, **query)

    assert ids(createdBefore="2026-01-06") == ids(createdBefore="2026-01-05T00:00:01Z") == both[1:]
    assert ids(createdAfter="2026-01-05T00:00:00.000Z") == both[:1]
    assert ids(type="inference-txt2img") == ids(types="inference-txt2img,upscale") == both[:1]
    assert ids(types="uploaded,inference-txt2img") == both
    assert ids(type="txt2video") == ids(inferenceId="nobody") == ids(modelId="none") == []
    assert ids(inferenceId=request.uuid) == ids(modelId=request.model_name) == both[:1]
    assert ids(projectId="any", originalAssets="true", privacy="private", deleted="false") == both


def _token(key: str) -> str:
    return str(get(key, pageSize=1).json()["nextPaginationToken"])


def test_what_cannot_be_honoured_is_refused(key: str, three: Any) -> None:
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


# --- Who may ---
def test_a_key_for_reading_sees_every_asset_of_the_installation(
    three: Any, make_asset: Any, make_request: Any, moderator: User
) -> None:
    make_asset(source=Source.TXT2IMG, request=make_request(requested_by=moderator), position=0)
    make_asset(source=Source.API, stored_by_id=moderator.pk)

    assert [len(get(make_key("read:all")).json()["assets"]) for _ in range(2)] == [5, 5]


def test_refusals_have_a_body_that_clients_read(key: str, three: Any, admin: User) -> None:
    browser = Client()
    browser.force_login(admin)
    refusals = {
        401: [get("wrong"), browser.get("/v1/assets"), get("", f"/v1/assets/{three[0].uuid}")],
        403: [get(make_key("generate", "classify"))],
        404: [
            get(key, f"/v1/assets/{name}")
            for name in ("x", "\0", "asset_1", "0" * 32, f"{three[0].uuid}x")
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
    assert get(key, f"/v1/assets/{three[0].uuid}", secret="").status_code == 200


# --- Several at once ---
def bulk(key: str, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(enforce_csrf_checks=True).post(
        "/v1/assets/get-bulk", raw, content_type="application/json", headers={"x-api-key": key}
    )


def test_several_assets_come_in_the_order_asked_for(key: str, three: Any) -> None:
    ids = [str(asset.uuid) for asset in three]
    asked = [ids[2], "asset_nobody", ids[0], str(uuid.uuid4()), ids[2]]

    found = bulk(key, {"assetIds": asked}).json()

    assert list(found) == ["assets"]
    assert [asset["id"] for asset in found["assets"]] == [ids[2], ids[0]]
    assert bulk(key, {"assetIds": []}).json() == {"assets": []}
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
def test_a_wrong_list_of_assets_is_refused(key: str, body: Any) -> None:
    answer = bulk(key, body)

    assert (answer.status_code, set(answer.json())) == (400, {"error", "message"})


def test_several_assets_need_a_key_for_reading(three: Any) -> None:
    assert bulk("wrong", {"assetIds": []}).status_code == 401
    assert bulk(make_key("generate"), {"assetIds": []}).status_code == 403
    assert get(make_key("read:all"), "/v1/assets/get-bulk").status_code == 405


# --- Clients ---
def test_our_own_client_reads_it(live_server: Any, key: str, three: Any, settings: Any) -> None:
    client = Scenario(
        api_key=key, api_secret="any", base_url=f"{live_server.url}/v1", label="Loupe"
    )

    page = client.assets(page_size=2)
    rest = client.assets(page.next_token, page_size=2)

    assert [found.nsfw for found in (*page.items, *rest.items)] == [
        (),
        ("violence", "explicit"),
        None,
    ]
    assert [found.is_ready for found in (*page.items, *rest.items)] == [True, True, False]
    with pytest.raises(AssetNotFoundError):
        client.asset("asset_nobody")


def test_the_published_client_lists_pages_and_reads_unmodified(
    live_server: Any, key: str, three: Any
) -> None:
    sdk = pytest.importorskip(
        "scenario_sdk", reason="scenario-sdk, the published client, is not installed"
    )
    ids = [str(asset.uuid) for asset in three]
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

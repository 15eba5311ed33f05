"""JSON types of numbers in responses of the sandbox and of the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from generation.models import ApiKey, GenerationRequest, Source
from generation.sandbox.models import SandboxTask
from generation.wire.task import Task
from tests.generation.sandbox.test_http import KEY, REQUEST
from tests.moderation.api.calls import CLEAN, classify, data_url, make_key

pytestmark = pytest.mark.django_db
INTEGER, NUMBER = "integer", "number"
# All numeric fields. List indexes are written "[]". JSON inside strings is parsed too.
TYPES = {
    "task.eta": INTEGER,
    "task.progress_percent": INTEGER,
    "images.[].nsfw_detection_result.confidence": NUMBER,
    "extra.moderation.images.[].position": INTEGER,
    "extra.debug_info.request_info.seeds.[]": INTEGER,
    "extra.debug_info.request_info.height": INTEGER,
    "extra.debug_info.request_info.width": INTEGER,
    "extra.debug_info.request_info.guidance_scale": NUMBER,
    "extra.debug_info.request_info.num_images_per_prompt": INTEGER,
    "extra.debug_info.request_info.num_inference_steps": INTEGER,
    "extra.debug_info.request_info.clip_skip": INTEGER,
    "models.[].id": INTEGER,
    "models.[].status": INTEGER,
    "models.[].download_url_ttl": INTEGER,
    "assets.[].metadata.numInferenceSteps": INTEGER,
    "assets.[].metadata.guidance": NUMBER,
    "assets.[].metadata.width": INTEGER,
    "assets.[].metadata.height": INTEGER,
    "assets.[].metadata.size": INTEGER,
    "assets.[].metadata.progressPercent": INTEGER,
    "assets.[].properties.width": INTEGER,
    "assets.[].properties.height": INTEGER,
    "assets.[].properties.size": INTEGER,
    "inputCount": INTEGER,
    "cost": NUMBER,
    "code": INTEGER,
}
REQUEST_INFO_KEYS = [
    "model",
    "prompts",
    "negative_prompts",
    "seeds",
    "height",
    "width",
    "guidance_scale",
    "num_images_per_prompt",
    "num_inference_steps",
    "sampler_name",
]


def find_numbers(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if path.endswith("request_info") and isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from find_numbers(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from find_numbers(inner, f"{path}.[]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, INTEGER if isinstance(value, int) else NUMBER


def assert_documented(answer: Any) -> set[str]:
    """Check every number in a JSON answer; return the paths that held one."""
    found = list(find_numbers(json.loads(answer.content)))
    assert {path for path, _ in found} <= set(TYPES)
    assert [path for path, kind in found if kind == NUMBER and TYPES[path] == INTEGER] == []
    return {path for path, _ in found}


def test_sandbox_responses_have_documented_number_types(settings: Any) -> None:
    settings.SANDBOX, settings.SANDBOX_LATENCY = True, 10
    novita = Client(headers={"Authorization": KEY})
    body = {"extra": {"enable_nsfw_detection": True}, "request": REQUEST}
    base = "/sandbox/novita/v3"
    task = novita.post(f"{base}/async/txt2img", body, content_type="application/json").json()[
        "task_id"
    ]
    now = timezone.now()
    seen: set[str] = set()
    for started, ready in ((5, 10.4), (-2, 8), (-9, -1)):
        SandboxTask.objects.filter(pk=task).update(
            starts_at=now + timedelta(seconds=started), ready_at=now + timedelta(seconds=ready)
        )
        seen |= assert_documented(novita.get(f"{base}/async/task-result", {"task_id": task}))
    seen |= assert_documented(novita.get(f"{base}/model"))
    scenario = Client(headers={"Authorization": "Basic a2V5OnNlY3JldA=="})
    seen |= assert_documented(scenario.get("/sandbox/scenario/v1/assets"))

    assert {
        "task.eta",
        "images.[].nsfw_detection_result.confidence",
        "assets.[].metadata.width",
    } <= seen


@pytest.fixture
def finished_request(make_request: Any, make_asset: Any, settings: Any) -> GenerationRequest:
    """Return a request with two approved images."""
    settings.CLASSIFIERS = ["sandbox"]
    key = make_key("generate", "read:all", "classify")
    row: GenerationRequest = make_request(
        api_key=ApiKey.objects.get(),
        status="succeeded",
        image_num=2,
        negative_prompt="fog",
        clip_skip=2,
        finished_at=timezone.now(),
    )
    for position in (0, 1):
        asset = make_asset(source=Source.TXT2IMG, request=row, position=position)
        type(asset.review).objects.filter(pk=asset.review.pk).update(
            status="approved", decided_at=timezone.now()
        )
        type(asset).objects.filter(pk=asset.pk).update(
            seed=70 + position, detection={"valid": True, "confidence": 3}
        )
    row.key_text = key
    return row


def test_api_responses_have_documented_number_types(finished_request: Any) -> None:
    headers = {"x-api-key": finished_request.key_text}
    result = Client().get(
        "/v3/async/task-result", {"task_id": str(finished_request.uuid)}, headers=headers
    )
    seen = assert_documented(result)
    seen |= assert_documented(Client().get("/v1/assets", headers=headers))
    seen |= assert_documented(
        classify(finished_request.key_text, {"imageDataUrl": data_url(CLEAN)})
    )
    seen |= assert_documented(Client().get("/v3/async/task-result", headers=headers))

    assert {
        "task.eta",
        "task.progress_percent",
        "assets.[].properties.size",
        "inputCount",
        "code",
    } <= seen


def test_request_info_has_documented_keys_in_order(finished_request: Any) -> None:
    headers = {"x-api-key": finished_request.key_text}
    answer = (
        Client()
        .get("/v3/async/task-result", {"task_id": str(finished_request.uuid)}, headers=headers)
        .json()
    )

    info = json.loads(answer["extra"]["debug_info"]["request_info"])
    assert list(info) == [*REQUEST_INFO_KEYS, "clip_skip"]
    assert info["prompts"] == [finished_request.prompt]
    assert info["negative_prompts"] == ["fog"]
    assert info["seeds"] == [70, 71]
    assert (info["num_images_per_prompt"], info["num_inference_steps"]) == (2, 20)


def test_request_info_has_seed_of_request_if_an_image_seed_is_unknown(
    finished_request: Any,
) -> None:
    finished_request.assets.filter(position=1).update(seed=None)
    headers = {"x-api-key": finished_request.key_text}
    answer = (
        Client()
        .get("/v3/async/task-result", {"task_id": str(finished_request.uuid)}, headers=headers)
        .json()
    )

    assert json.loads(answer["extra"]["debug_info"]["request_info"])["seeds"] == [
        finished_request.seed
    ]


@pytest.mark.parametrize(
    ("sent", "read"), [(12, 12), (12.0, 12), (12.9, 12), ("12", 12), (float("inf"), 0), ("x", 0)]
)
def test_fractional_progress_from_provider_becomes_integer(sent: Any, read: int) -> None:
    task = Task.model_validate({"task_id": "t", "status": "x", "progress_percent": sent})

    assert task.progress_percent == read
    assert type(task.progress_percent) is int


def test_asset_has_fields_of_documented_example(
    make_asset: Any, finished_request: Any, moderator: User
) -> None:
    imported = make_asset(original_name="harbour.png")
    listed = (
        Client()
        .get("/v1/assets", headers={"x-api-key": finished_request.key_text})
        .json()["assets"]
    )

    described = {row["id"]: row for row in listed}
    made = described[str(finished_request.assets.get(position=0).uuid)]
    assert made["description"] == finished_request.prompt
    assert made["metadata"]["size"] == made["properties"]["size"] > 0
    assert made["metadata"]["progressPercent"] == 100
    assert described[str(imported.uuid)]["description"] == "harbour.png"

"""Novita's txt2img endpoints: submit, poll, and receive only approved images."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import ApiKey, GenerationRequest
from moderation.models import Review, Verdict
from moderation.services import decisions
from tests.generation.pipeline_helpers import run_line

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("novita_sandbox")]
SUBMIT, RESULT = "/v3/async/txt2img", "/v3/async/task-result"


@pytest.fixture
def key() -> str:
    return ApiKey.make(name="shop", scopes=["generate"])[1]


def body(**fields: Any) -> dict[str, Any]:
    request = {
        "model_name": "alder_realism_v4.safetensors",
        "prompt": "a harbour at dawn",
        "width": 128,
        "height": 128,
        "image_num": 1,
        "steps": 20,
        "guidance_scale": 7.5,
        "sampler_name": "Euler a",
        "seed": 5,
    }
    return {"request": {**request, **fields}}


def submit(key: str, content: Any, **headers: str) -> Any:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Client().post(
        SUBMIT,
        data=text,
        content_type="application/json",
        headers={"authorization": f"Bearer {key}", **headers},
    )


def result(key: str, task: str) -> Any:
    return Client().get(RESULT, {"task_id": task}, headers={"authorization": key})


def test_task_is_processing_until_all_images_are_decided_then_lists_approved(
    key: str, moderator: User
) -> None:
    task = submit(key, body(prompt="a whisky bottle", image_num=2)).json()["task_id"]
    assert result(key, task).json()["task"]["status"] == "TASK_STATUS_QUEUED"
    run_line()
    undecided = result(key, task).json()
    assert undecided["task"]["status"] == "TASK_STATUS_PROCESSING"
    assert undecided["images"] == []

    kept, refused = Review.objects.order_by("asset__position")
    decisions.claim(review=kept, user=moderator)
    decisions.decide(review=kept, user=moderator, verdict=Verdict.APPROVE)
    assert result(key, task).json()["task"]["status"] == "TASK_STATUS_PROCESSING"
    decisions.claim(review=refused, user=moderator)
    decisions.decide(
        review=refused, user=moderator, verdict=Verdict.REJECT, categories=["alcohol.beverages"]
    )

    done = result(key, task).json()
    assert done["task"]["status"] == "TASK_STATUS_SUCCEED"
    assert len(done["images"]) == 1
    assert done["images"][0]["image_url_ttl"] == "3600"
    assert int(done["extra"]["seed"]) == 5
    verdicts = [
        (image["verdict"], image["decided_by"]) for image in done["extra"]["moderation"]["images"]
    ]
    assert verdicts == [("approved", "person"), ("rejected", "person")]


def test_image_url_returns_403_after_reversal(key: str, senior: User) -> None:
    task = submit(key, body()).json()["task_id"]
    run_line()
    url = result(key, task).json()["images"][0]["image_url"]
    path = "/" + url.split("/", 3)[3]

    image = Client().get(path)
    assert (image.status_code, image["Content-Type"]) == (200, "image/png")
    assert "no-store" in image["Cache-Control"]
    image.close()
    decision = Review.objects.get().decisions.get()
    decisions.reverse(decision=decision, user=senior, note="second thoughts")

    withdrawn = Client().get(path)
    assert withdrawn.status_code == 403
    assert b"AccessDenied" in withdrawn.content
    assert result(key, task).json()["task"]["status"] == "TASK_STATUS_PROCESSING"
    tampered = path.replace("/v3/images/", "/v3/images/x")
    assert Client().get(tampered).status_code == 403


def test_request_without_approved_images_is_failed_with_reason(key: str) -> None:
    task = submit(key, body(prompt="sandbox:explicit.nudity@99")).json()["task_id"]
    run_line()

    answer = result(key, task).json()

    assert answer["task"]["status"] == "TASK_STATUS_FAILED"
    assert answer["task"]["reason"]
    assert answer["images"] == []
    assert "seed" in answer["extra"]


def test_repeated_idempotency_key_creates_one_request(key: str) -> None:
    first = submit(key, body(), **{"Idempotency-Key": "order-7"}).json()
    again = submit(key, body(), **{"Idempotency-Key": "order-7"}).json()
    other = submit(key, body(prompt="another"), **{"Idempotency-Key": "order-7"})

    assert first == again
    assert other.status_code == 422
    assert GenerationRequest.objects.count() == 1


def test_task_of_another_key_returns_404(key: str) -> None:
    task = submit(key, body()).json()["task_id"]
    _, stranger = ApiKey.make(name="other", scopes=["generate"])

    answer = result(stranger, task)

    assert (answer.status_code, answer.json()["reason"]) == (404, "TASK_NOT_FOUND")
    assert result(key, "nonsense").status_code == 404


@pytest.mark.parametrize(
    ("sent", "status", "reason"), [("", 400, "MISSING_API_KEY"), ("x", 403, "INVALID_API_KEY")]
)
def test_missing_and_invalid_keys_return_novita_errors(sent: str, status: int, reason: str) -> None:
    answer = Client().get(RESULT, headers={"authorization": sent} if sent else {})

    assert answer.status_code == status
    words = {"MISSING_API_KEY": "missing api-key", "INVALID_API_KEY": "invalid api-key"}[reason]
    metadata = {"detail": answer.json()["metadata"]["detail"]}
    assert answer.json() == {
        "code": status,
        "reason": reason,
        "message": words,
        "metadata": metadata,
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"request": {"steps": NaN}}',
        b"[" * 50_000,
        b'{"request": []}',
        b'{"request": {"prompt": "\\u0000"}}',
        b"x" * 2_000_000,
        body(width=64),
        body(width="512"),
        body(steps=10**30),
        body(image_num=9),
        body(prompt=""),
        body(sampler_name="None"),
        body(guidance_scale=True),
        body(seed=-2),
        {**body(), "extra": {"webhook": {"url": "http://127.0.0.1/x"}}},
        {**body(), "extra": {"webhook": {"url": "file:///etc/passwd"}}},
        {**body(), "extra": {"webhook": {"url": "http://169.254.169.254/latest"}}},
    ],
)
def test_invalid_body_returns_4xx_and_stores_nothing(key: str, content: Any) -> None:
    answer = submit(key, content)

    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"code", "reason", "message", "metadata"}
    assert not GenerationRequest.objects.exists()


def test_nulls_and_empty_objects_and_double_slash_are_accepted(key: str) -> None:
    content = {
        **body(sd_vae=None, loras=None, refiner=None),
        "extra": {"custom_storage": {}, "enterprise_plan": {}},
    }
    answer = Client().post(
        SUBMIT,
        data=json.dumps(content),
        content_type="application/json",
        headers={"authorization": key},
        PATH_INFO=f"/{SUBMIT}",
    )

    assert (answer.status_code, list(answer.json())) == (200, ["task_id"])
    assert GenerationRequest.objects.get().api_key is not None


def test_model_pages_do_not_overlap(key: str) -> None:
    first = Client().get(
        "/v3/model",
        {"filter.types": "checkpoint", "pagination.limit": 10},
        headers={"authorization": key},
    )

    page = first.json()
    assert len(page["models"]) == 10
    following = {
        "filter.types": "checkpoint",
        "pagination.limit": 10,
        "pagination.cursor": page["pagination"]["next_cursor"],
    }
    second = Client().get("/v3/model", following, headers={"authorization": key}).json()
    assert {row["sd_name"] for row in page["models"]}.isdisjoint(
        row["sd_name"] for row in second["models"]
    )


def test_unknown_url_returns_404_in_format(key: str) -> None:
    answer = Client().get("/v3/async/nothing", headers={"authorization": key})

    assert (answer.status_code, answer.json()["reason"]) == (404, "API_NOT_FOUND")


def test_developers_page_shows_only_own_keys(
    moderator: User, client_of: Callable[[User], Client]
) -> None:
    ApiKey.make(name="mine", scopes=["generate"], owner=moderator)
    ApiKey.make(name="theirs", scopes=["generate"])

    page = client_of(moderator).get("/developers/").content.decode()

    assert "mine" in page
    assert "theirs" not in page


def test_body_with_several_wrong_fields_names_all_in_metadata(key: str) -> None:
    content = body(width=1, steps="many", prompt="")
    content["request"]["guidance_scale"] = 1000
    content["extra"] = {"custom_storage": {"aws_s3": {"region": "a", "bucket": "b", "path": "c"}}}

    answer = submit(key, content)

    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "reason", "message", "metadata"}
    fields = answer.json()["metadata"]["fields"]
    assert {f"request.{name}" for name in ("width", "steps", "prompt", "guidance_scale")} <= set(
        fields
    )
    assert any(name.startswith("extra.custom_storage") for name in fields)
    assert all(fields.values())
    assert GenerationRequest.objects.count() == 0


def test_forbidden_webhook_address_is_named_in_metadata(key: str) -> None:
    content = body()
    content["extra"] = {"webhook": {"url": "http://169.254.169.254/latest"}}
    fields = submit(key, content).json()["metadata"]["fields"]
    assert "is not allowed" in fields["extra.webhook.url"]

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from PIL import Image

from generation.sandbox import marker
from generation.sandbox.models import LANES, SandboxRefusal, SandboxTask
from generation.wire import task as wire

pytestmark = pytest.mark.django_db

BASE = "/sandbox/novita"
KEY = "Bearer sk_anything"
SDXL = "amberlight_v2_55113.safetensors"
REQUEST: dict[str, Any] = {
    "model_name": "clearwater_v5_55191.safetensors",
    "prompt": "misty mountains",
    "width": 160,
    "height": 128,
    "image_num": 1,
    "steps": 20,
    "guidance_scale": 7.5,
    "sampler_name": "Euler a",
    "seed": 42,
}


@pytest.fixture
def novita(settings: Any) -> Client:
    settings.SANDBOX, settings.SANDBOX_LATENCY = True, 0
    cache.clear()
    return Client(headers={"Authorization": KEY}, enforce_csrf_checks=True)


def post(client: Client, extra: object = None, **request: Any) -> HttpResponse:
    body = json.dumps({"extra": extra, "request": REQUEST | request})
    return client.post(f"{BASE}/v3/async/txt2img", body, content_type="application/json")


def submit(client: Client, extra: object = None, **request: Any) -> str:
    answer = post(client, extra, **request)
    assert answer.status_code == 200, answer.content
    return str(answer.json()["task_id"])


def result(client: Client, task_id: str) -> dict[str, Any]:
    answer = client.get(f"{BASE}/v3/async/task-result", {"task_id": task_id})
    assert answer.status_code == 200
    return dict(answer.json())


def fetch(url: str) -> HttpResponse:
    """Request a URL without an API key and without a session."""
    parts = urlsplit(url)
    return Client().get(f"{parts.path}?{parts.query}")


def at(task_id: str, *, started: float, ready: float) -> None:
    """Set the start and the end of a task, in seconds from now; negative means the past."""
    now = timezone.now()
    SandboxTask.objects.filter(pk=task_id).update(
        starts_at=now + timedelta(seconds=started), ready_at=now + timedelta(seconds=ready)
    )


def error(answer: HttpResponse) -> tuple[int, str]:
    body = json.loads(answer.content)
    assert set(body) == {"code", "reason", "message", "metadata"}
    assert body["code"] == answer.status_code
    return answer.status_code, body["reason"]


# --- Submitting ---
def test_submission_returns_only_a_task_id(novita: Client) -> None:
    answer = post(novita)
    assert answer.status_code == 200
    assert list(answer.json()) == ["task_id"]


@pytest.mark.parametrize("key", ["Bearer sk_x", "bearer sk_x", "sk_x"])
def test_any_api_key_is_accepted_with_or_without_bearer(novita: Client, key: str) -> None:
    assert post(Client(headers={"Authorization": key})).status_code == 200


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", (400, "MISSING_API_KEY")),
        ("Bearer ", (403, "INVALID_API_KEY")),
        ("invalid", (403, "INVALID_API_KEY")),
    ],
)
@pytest.mark.parametrize("path", ["/v3/async/task-result?task_id=x", "/v3/model"])
def test_missing_or_invalid_key_is_refused(
    novita: Client, key: str, expected: tuple[int, str], path: str
) -> None:
    client = Client(headers={"Authorization": key})
    assert error(client.get(BASE + path)) == expected
    assert error(post(client)) == expected
    assert not SandboxTask.objects.exists()


def test_invalid_body_is_refused_with_one_message(novita: Client) -> None:
    answer = post(novita, width=64)
    assert error(answer) == (400, "INVALID_REQUEST_BODY")
    assert answer.json()["message"] == "request.width must be from 128 to 2048."


def test_disabled_sandbox_returns_404(novita: Client, settings: Any) -> None:
    task_id = submit(novita)
    url = result(novita, task_id)["images"][0]["image_url"]
    settings.SANDBOX = False
    assert post(novita).status_code == 404
    assert novita.get(f"{BASE}/v3/model").status_code == 404
    assert fetch(url).status_code == 404


def test_wrong_method_returns_404_api_not_found(novita: Client) -> None:
    assert error(novita.get(f"{BASE}/v3/async/txt2img")) == (404, "API_NOT_FOUND")


# --- States of a task ---
def test_task_is_queued_processed_and_succeeds_by_its_times(novita: Client) -> None:
    task_id = submit(novita)
    seen = []
    for started, ready in ((5, 10), (-2, 8), (-8, 2), (-10, -1)):
        at(task_id, started=started, ready=ready)
        answer = result(novita, task_id)
        seen.append(
            (answer["task"]["status"], answer["task"]["progress_percent"], len(answer["images"]))
        )
    assert [status for status, _, _ in seen] == [
        wire.STATUS_QUEUED,
        wire.STATUS_PROCESSING,
        wire.STATUS_PROCESSING,
        wire.STATUS_SUCCEED,
    ]
    assert [images for _, _, images in seen] == [0, 0, 0, 1]
    # Progress rises during processing and is 0 at the end, as in every published example.
    assert [round(progress, -1) for _, progress, _ in seen] == [0, 20, 80, 0]


def test_eta_is_the_remaining_seconds(novita: Client) -> None:
    task_id = submit(novita)
    at(task_id, started=-1, ready=9)
    assert result(novita, task_id)["task"]["eta"] == 9


def test_finished_task_has_every_field_that_the_official_sdk_reads(novita: Client) -> None:
    answer = result(novita, submit(novita, image_num=2))
    assert set(answer) == {"extra", "task", "images", "videos", "audios"}
    assert set(answer["task"]) == {
        "task_id",
        "task_type",
        "status",
        "reason",
        "eta",
        "progress_percent",
    }
    assert answer["extra"]["seed"] == "42"
    times = ("submit_time_ms", "execute_time_ms", "complete_time_ms")
    assert all(answer["extra"]["debug_info"][name].isdigit() for name in times)
    assert json.loads(answer["extra"]["debug_info"]["request_info"])["seeds"] == [42, 43]
    assert (answer["videos"], answer["audios"]) == ([], [])
    image = answer["images"][0]
    assert (image["image_url_ttl"], image["image_type"], image["nsfw_detection_result"]) == (
        "3600",
        "png",
        None,
    )


def test_random_seed_is_chosen_once(novita: Client) -> None:
    task_id = submit(novita, seed=-1)
    seeds = {result(novita, task_id)["extra"]["seed"] for _ in range(2)}
    assert len(seeds) == 1
    assert int(seeds.pop()) >= 0


@pytest.mark.parametrize("task_id", ["", "nonsense", "8b2e3f7c-0000-4000-8000-000000000000"])
def test_unknown_task_returns_404(novita: Client, task_id: str) -> None:
    answer = novita.get(f"{BASE}/v3/async/task-result", {"task_id": task_id})
    assert error(answer) == (404, "TASK_NOT_FOUND")


def test_parallel_tasks_are_spread_over_the_lanes(novita: Client, settings: Any) -> None:
    settings.SANDBOX_LATENCY = 10
    tasks = [SandboxTask.objects.get(pk=submit(novita, seed=seed)) for seed in range(2 * LANES)]
    first, second = tasks[:LANES], tasks[LANES:]
    assert {task.lane for task in first} == {task.lane for task in second} == set(range(LANES))
    assert all(task.starts_at == task.submitted_at for task in first)
    assert sorted(task.starts_at for task in second) == sorted(task.ready_at for task in first)


def test_duration_grows_with_images_and_with_sandbox_slow(novita: Client, settings: Any) -> None:
    settings.SANDBOX_LATENCY = 10

    def seconds(**request: Any) -> float:
        task = SandboxTask.objects.get(pk=submit(novita, **request))
        return (task.ready_at - task.starts_at).total_seconds()

    one = seconds()
    assert 8 <= one <= 12
    assert seconds(image_num=3) == pytest.approx(3 * one)
    assert seconds(prompt="hills sandbox:slow") == pytest.approx(10 * one)


def test_tasks_older_than_a_week_are_deleted(novita: Client) -> None:
    old = submit(novita)
    at(old, started=-700_000, ready=-690_000)
    submit(novita)
    assert not SandboxTask.objects.filter(pk=old).exists()


# --- Images ---
@pytest.mark.parametrize("image_type", ["png", "jpeg", "webp"])
def test_images_have_the_requested_size_number_and_type(novita: Client, image_type: str) -> None:
    answer = result(
        novita,
        submit(novita, {"response_image_type": image_type}, image_num=3, width=200, height=136),
    )
    assert len(answer["images"]) == 3
    for row in answer["images"]:
        content = fetch(row["image_url"])
        image = Image.open(io.BytesIO(content.content))
        assert content["Content-Type"] == f"image/{image_type}"
        assert (image.format, image.size) == (image_type.upper(), (200, 136))
        assert marker.read_marker(image) == []


def test_hires_fix_and_transparent_background_change_the_image(novita: Client) -> None:
    hires = {"target_width": 320, "target_height": 256, "strength": 0.5, "upscaler": "Latent"}
    answer = result(
        novita, submit(novita, hires_fix=hires, enable_transparent_background=True, model_name=SDXL)
    )
    image = Image.open(io.BytesIO(fetch(answer["images"][0]["image_url"]).content))
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (320, 256))
    alpha = image.getchannel("A")
    assert (alpha.getpixel((0, 0)), alpha.getpixel((160, 120)), alpha.getpixel((0, 255))) == (
        0,
        255,
        255,
    )
    assert marker.read_marker(image) == []


def test_transparent_background_is_refused_for_a_model_that_is_not_sdxl(
    novita: Client,
) -> None:
    for name in (REQUEST["model_name"], REQUEST["model_name"].removesuffix(".safetensors")):
        answer = post(novita, enable_transparent_background=True, model_name=name)
        assert error(answer) == (400, "INVALID_REQUEST_BODY")
        assert "needs an SDXL model" in answer.json()["message"]
    assert (
        post(novita, enable_transparent_background=True, model_name="nobody-knows").status_code
        == 200
    )


def test_debug_info_contains_the_request_without_the_webhook_url(novita: Client) -> None:
    extra = {
        "webhook": {"url": "https://loupe.example/secret"},
        "enterprise_plan": {"enabled": True},
    }
    lora = {"model_name": "aurora_glow_68100", "strength": 0.5}
    answer = result(novita, submit(novita, extra, image_num=3, loras=[lora]))
    info = json.loads(answer["extra"]["debug_info"]["request_info"])
    assert info == {
        "model": REQUEST["model_name"],
        "prompts": ["misty mountains"],
        "negative_prompts": [""],
        "seeds": [42, 43, 44],
        "height": 128,
        "width": 160,
        "guidance_scale": 7.5,
        "num_images_per_prompt": 3,
        "num_inference_steps": 20,
        "sampler_name": "Euler a",
        "loras": [lora],
    }
    assert "secret" not in json.dumps(answer)


def test_same_request_gives_the_same_bytes_in_every_task(novita: Client) -> None:
    urls = [result(novita, submit(novita))["images"][0]["image_url"] for _ in range(2)]
    first, second = (fetch(url).content for url in urls)
    assert first == second


def test_image_url_has_s3_parameters_and_expires(
    novita: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = result(novita, submit(novita))["images"][0]["image_url"]
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Expires"] == ["3600"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    real = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: real() + timedelta(seconds=3590))
    assert fetch(url).status_code == 200
    monkeypatch.setattr("django.utils.timezone.now", lambda: real() + timedelta(seconds=3601))
    answer = fetch(url)
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/xml")
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in answer.content


@pytest.mark.parametrize(
    "forge",
    [
        lambda url: url.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"),
        lambda url: url.replace("/0.png", "/1.png"),
        lambda url: url[:-4] + "0000",
        lambda url: url.partition("?")[0],
    ],
)
def test_forged_image_url_is_refused(novita: Client, forge: Callable[[str], str]) -> None:
    url = result(novita, submit(novita, image_num=2))["images"][0]["image_url"]
    answer = fetch(forge(url))
    assert answer.status_code == 403
    assert b"SignatureDoesNotMatch" in answer.content


# --- Control words in the prompt ---
def test_word_fail_fails_the_task_with_a_reason_and_without_images(novita: Client) -> None:
    answer = result(novita, submit(novita, prompt="hills sandbox:fail"))
    assert (answer["task"]["status"], answer["images"]) == (wire.STATUS_FAILED, [])
    assert "sandbox:fail" in answer["task"]["reason"]
    assert answer["extra"]["debug_info"]


def test_word_partial_leaves_out_the_last_image(novita: Client) -> None:
    rows = result(novita, submit(novita, prompt="hills sandbox:partial", image_num=3))["images"]
    answers = [fetch(row["image_url"]) for row in rows]
    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert b"NoSuchKey" in answers[-1].content


def test_word_expired_gives_expired_image_urls(novita: Client) -> None:
    row = result(novita, submit(novita, prompt="hills sandbox:expired"))["images"][0]
    assert b"Request has expired" in fetch(row["image_url"]).content


def test_word_corrupt_gives_a_truncated_image_and_a_web_page(novita: Client) -> None:
    rows = result(novita, submit(novita, prompt="hills sandbox:corrupt", image_num=2))["images"]
    half, page = (fetch(row["image_url"]) for row in rows)
    assert half["Content-Type"] == page["Content-Type"] == "image/png"
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(half.content)).load()
    assert page.content.startswith(b"<!doctype html>")


def test_word_busy_refuses_the_same_body_twice(novita: Client) -> None:
    answers = [post(novita, prompt="hills sandbox:busy").status_code for _ in range(6)]
    assert answers == [429, 429, 200, 429, 429, 200]
    assert SandboxTask.objects.count() == 2
    assert not SandboxRefusal.objects.exists()


def test_word_lost_creates_the_task_and_returns_an_error(novita: Client) -> None:
    assert error(post(novita, prompt="hills sandbox:lost")) == (500, "CREATE_TASK_FAILED")
    assert SandboxTask.objects.count() == 1


@pytest.mark.parametrize(
    ("word", "reason"), [("reject", "ILLEGAL_PROMPT"), ("broke", "BILLING_BALANCE_NOT_ENOUGH")]
)
def test_words_reject_and_broke_refuse_the_submission(
    novita: Client, word: str, reason: str
) -> None:
    assert error(post(novita, prompt=f"hills sandbox:{word}")) == (400, reason)
    assert not SandboxTask.objects.exists()


def detection(novita: Client, prompt: str, level: int) -> dict[str, Any]:
    extra = {"enable_nsfw_detection": True, "nsfw_detection_level": level}
    found: dict[str, Any] = result(novita, submit(novita, extra, prompt=prompt))["images"][0][
        "nsfw_detection_result"
    ]
    return found


def test_detection_depends_on_the_level(novita: Client) -> None:
    found = [
        detection(novita, "hills sandbox:swimwear-underwear.male@88", level)["confidence"]
        for level in (0, 1, 2)
    ]
    assert found == [pytest.approx(2, abs=2), pytest.approx(2, abs=2), 88]


def test_detection_ignores_categories_outside_novitas_levels(novita: Client) -> None:
    assert detection(novita, "hills sandbox:violence.weapons@99", 2)["confidence"] <= 4


def test_word_invalid_detection_returns_an_invalid_detection(novita: Client) -> None:
    assert detection(novita, "hills sandbox:invalid-detection", 2) == {
        "valid": False,
        "confidence": 0,
    }


# --- Models ---
def models(novita: Client, **asked: Any) -> dict[str, Any]:
    answer = novita.get(
        f"{BASE}/v3/model", {name.replace("__", "."): value for name, value in asked.items()}
    )
    assert answer.status_code == 200
    return dict(answer.json())


def test_models_are_paginated_by_an_opaque_cursor(novita: Client) -> None:
    names: list[str] = []
    cursor = ""
    for _ in range(10):
        page = models(novita, pagination__limit=7, pagination__cursor=cursor)
        names += [row["sd_name"] for row in page["models"]]
        cursor = page["pagination"]["next_cursor"]
        if not cursor:
            break
    assert len(names) == len(set(names)) >= 30


@pytest.mark.parametrize("prefix", ["c_", "c_c_"])
def test_numbered_cursors_of_the_sdk_are_accepted(novita: Client, prefix: str) -> None:
    everything = models(novita, pagination__limit=100)["models"]
    assert (
        models(novita, pagination__limit=100, pagination__cursor=f"{prefix}10")["models"]
        == everything[10:]
    )
    assert models(novita, pagination__limit=100, pagination__cursor=f"{prefix}100")["models"] == []


def test_models_can_be_filtered(novita: Client) -> None:
    assert [row["name"] for row in models(novita, filter__query="aquarelle")["models"]] == [
        "Aquarelle Mix v1.5"
    ]
    assert all(row["is_sdxl"] for row in models(novita, filter__is_sdxl="true")["models"])
    assert models(novita, filter__types="controlnet")["models"] == []
    for kind, ending in (("lora", "68100"), ("vae", "81100"), ("textualinversion", "94100.pt")):
        rows = models(novita, filter__types=kind)["models"]
        assert {row["type"]["name"] for row in rows} == {kind}
        assert rows[0]["sd_name_in_api"].endswith(ending)
    assert models(novita, filter__visibility="private")["models"] == []
    assert models(novita, filter__is_inpainting="False")["models"]


def test_bracket_parameters_of_the_javascript_sdk_are_accepted(novita: Client) -> None:
    answer = novita.get(
        f"{BASE}/v3/model", {"filter[types]": "checkpoint", "pagination[limit]": "3"}
    )
    assert len(answer.json()["models"]) == 3


@pytest.mark.parametrize(
    "asked", [{"pagination.limit": "101"}, {"pagination.limit": "x"}, {"pagination.cursor": "c_!"}]
)
def test_invalid_page_parameter_is_refused(novita: Client, asked: dict[str, str]) -> None:
    assert error(novita.get(f"{BASE}/v3/model", asked)) == (400, "INVALID_REQUEST_BODY")


def test_images_to_classify_are_decoded_one_at_a_time(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The web process decodes them, and anyone can call this URL, so memory must be limited."""
    meeting, met = threading.Barrier(2), []

    def read(image: Image.Image) -> None:
        try:
            meeting.wait(0.2)
            met.append(image)
        except threading.BrokenBarrierError:
            meeting.reset()

    monkeypatch.setattr(marker, "read_marker", read)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    answer = Client().post(
        "/sandbox/nano-gpt/api/nsfw/image",
        {"imageDataUrls": [address] * 3},
        content_type="application/json",
        headers={"x-api-key": "k"},
    )

    assert answer.status_code == 200
    assert met == []


def test_image_larger_than_loupes_limit_is_not_decoded(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marker, "read_marker", lambda image: pytest.fail("it was decoded"))
    file = io.BytesIO()
    Image.new("1", (5000, 5000)).save(file, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    answer = Client().post(
        "/sandbox/nano-gpt/api/nsfw/image",
        {"imageDataUrl": address},
        content_type="application/json",
        headers={"x-api-key": "k"},
    )

    assert answer.status_code == 400

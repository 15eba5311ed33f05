"""Published clients, unmodified, against a running Loupe.

A program changes only its base URL and its key. The requirements of these clients are documented
only in their own code, so the tests run the clients instead of imitating them.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import scenario_sdk
from novita_client import (
    CommonV3Extra,
    NovitaClient,
    NovitaResponseError,
    Txt2ImgV3Request,
    V3TaskResponse,
    V3TaskResponseStatus,
)
from PIL import Image, ImageChops, ImageStat
from scenario_sdk import Scenario

from tests.e2e.conftest import NODE_CLIENTS, PASSWORD, Stack

# One stack serves all tests of this folder, also when the suite runs in several processes.
pytestmark = [
    pytest.mark.xdist_group("stack"),
    # novita-client leaves its download threads to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning"),
]

MODEL = "alder_realism_v4_55100.safetensors"  # a model of the sandbox
SDXL_MODEL = "amberlight_v2_55113.safetensors"  # one that can draw a transparent background
SIZE = (256, 256)
UNDECIDED = "sandbox:gambling"  # the demo's policy leaves it to a person
ENDED = 300  # seconds; the demo's requests may be first in the queue
WRONG = "no-such-key"


@pytest.fixture(autouse=True)
def _straight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bypass a proxy of the environment, which could not reach the local server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.api_key("Published clients", "generate", "read:all")


class Desk:
    """An HTTP client that sends the requests of a moderator's browser."""

    def __init__(self, stack: Stack, http: httpx.Client) -> None:
        self.stack, self.http = stack, http
        self.http.get("/login/")
        self._post("/login/", username="moderator", password=PASSWORD)

    def _post(self, path: str, **data: Any) -> None:
        answer = self.http.post(
            path, data=data, headers={"X-CSRFToken": self.http.cookies["csrftoken"]}
        )
        # Success redirects to the result; a refusal would render a page.
        assert answer.is_redirect, (path, answer.status_code)

    def waiting(self, prompt: str, images: int) -> list[str]:
        """Wait until all images of a prompt are pending, and return their reviews in order."""
        query = f"""select v.uuid from moderation_review v join generation_asset a on a.id = v.asset_id
                    join generation_generationrequest r on r.id = a.request_id
                    where r.prompt = '{prompt}' and v.status = 'pending' order by a.position"""
        self.stack.wait_for(lambda: len(self.stack.rows(query)) == images, what="images to decide")
        return [str(uuid.UUID(row[0])) for row in self.stack.rows(query)]

    def decide(self, review: str, verdict: str, *categories: str) -> None:
        self._post(f"/reviews/{review}/claim/")
        self._post(
            f"/reviews/{review}/decisions/",
            verdict=verdict,
            categories=list(categories),
            seconds="1.0",
        )


@pytest.fixture(scope="module")
def desk(stack: Stack) -> Iterator[Desk]:
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=120) as http:
        yield Desk(stack, http)


@pytest.fixture
def prompt() -> str:
    """Return a prompt that no other test uses, for images in which the detector finds nothing."""
    return f"misty mountains in the morning {uuid.uuid4().hex}"


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    """Return a function that runs a program in a thread, while the test decides its images."""
    thread = ThreadPoolExecutor(1)
    yield thread.submit
    thread.shutdown(
        wait=False
    )  # after a failed test the program waits for a decision; it ends with the stack


def assert_is_image(content: bytes, kind: str) -> None:
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == (kind, SIZE)


# --- Novita's Python client ---
def ask(client: NovitaClient, prompt: str, images: int = 1, **more: Any) -> V3TaskResponse:
    """Submit a request, wait for it and download its images, all by the client."""
    width, height = SIZE
    return client.txt2img_v3(
        model_name=MODEL, prompt=prompt, image_num=images, width=width, height=height, **more
    )


def submit(client: NovitaClient, prompt: str) -> str:
    """Submit a request without waiting, and return its task id."""
    width, height = SIZE
    body = Txt2ImgV3Request(
        model_name=MODEL, prompt=prompt, image_num=1, width=width, height=height
    )
    return str(client.raw_txt2img_v3(body, CommonV3Extra()).task_id)


def test_python_client_gets_images_that_the_policy_approved(
    stack: Stack, key: str, prompt: str
) -> None:
    client = NovitaClient(key, stack.url)

    answer = ask(client, prompt, images=2, response_image_type="png", enable_nsfw_detection=True)

    assert answer.task.status is V3TaskResponseStatus.TASK_STATUS_SUCCEED
    assert [(image.image_type, image.image_url_ttl) for image in answer.images] == [
        ("png", 3600)
    ] * 2
    assert [image.nsfw_detection_result.valid for image in answer.images] == [True, True]
    assert answer.extra.debug_info.complete_time_ms >= answer.extra.debug_info.submit_time_ms
    assert len(answer.images_encoded) == 2
    for content in answer.images_encoded:
        assert_is_image(base64.b64decode(content), "PNG")


def test_python_client_waits_for_a_decision_and_gets_only_approved_images(
    stack: Stack, key: str, prompt: str, desk: Desk, background: Callable[..., Future[Any]]
) -> None:
    program = background(ask, NovitaClient(key, stack.url), f"{prompt} {UNDECIDED}", images=2)
    bad, good = desk.waiting(f"{prompt} {UNDECIDED}", images=2)

    desk.decide(bad, "reject", "gambling")
    assert not program.done()
    desk.decide(good, "approve")
    answer = program.result(timeout=ENDED)

    assert answer.task.status is V3TaskResponseStatus.TASK_STATUS_SUCCEED
    assert len(answer.images) == len(answer.images_encoded) == 1
    assert_is_image(base64.b64decode(answer.images_encoded[0]), "JPEG")


def test_python_client_gets_a_blurred_image_that_a_person_approved_blurred(
    stack: Stack, key: str, prompt: str, desk: Desk
) -> None:
    client = NovitaClient(key, stack.url)
    task = submit(client, f"{prompt} {UNDECIDED}")
    (review,) = desk.waiting(f"{prompt} {UNDECIDED}", images=1)

    desk.decide(review, "blur")
    answer = client.wait_for_task_v3(task)

    (image,) = answer.images
    got = httpx.get(image.image_url, trust_env=False)
    assert got.headers["X-Loupe-Delivered"] == "blurred"
    with Image.open(io.BytesIO(got.content)) as picture:
        assert picture.size == SIZE
        few = picture.convert("RGB").resize((8, 8)).resize(SIZE, Image.Resampling.BICUBIC)
        difference = ImageChops.difference(picture.convert("RGB"), few)
    assert sum(ImageStat.Stat(difference).mean) / 3 < 6


def test_python_client_gets_a_failed_task_after_a_rejection(
    stack: Stack, key: str, prompt: str, desk: Desk
) -> None:
    client = NovitaClient(key, stack.url)
    task = submit(client, f"{prompt} {UNDECIDED}")
    (review,) = desk.waiting(f"{prompt} {UNDECIDED}", images=1)

    undecided = client.async_task_result(task)
    assert undecided.task.status is V3TaskResponseStatus.TASK_STATUS_PROCESSING
    assert undecided.images == []

    desk.decide(review, "reject", "gambling")
    rejected = client.wait_for_task_v3(task)
    assert rejected.task.status is V3TaskResponseStatus.TASK_STATUS_FAILED
    assert rejected.task.reason == "No image passed moderation. (1 rejected)"
    assert rejected.images == []


@dataclass
class TransparentRequest(Txt2ImgV3Request):  # type of the client, which lacks this documented field
    enable_transparent_background: bool = True


def test_python_client_gets_a_transparent_png_after_a_person_approved(
    stack: Stack, key: str, prompt: str, desk: Desk
) -> None:
    client = NovitaClient(key, stack.url)
    width, height = SIZE
    order = TransparentRequest(
        model_name=SDXL_MODEL,
        prompt=f"{prompt} {UNDECIDED}",
        image_num=1,
        width=width,
        height=height,
    )
    tasks: list[str] = []

    def is_accepted() -> bool:
        """Submit. A busy server may not get the list of SDXL models in time: 503, to be repeated."""
        try:
            reply = client.raw_txt2img_v3(order, CommonV3Extra(response_image_type="png"))
        except NovitaResponseError as error:
            if "503" not in str(error):
                raise
            return False
        tasks.append(str(reply.task_id))
        return True

    stack.wait_for(is_accepted, what="the list of SDXL models")
    (review,) = desk.waiting(f"{prompt} {UNDECIDED}", images=1)

    desk.decide(review, "approve")
    answer = client.wait_for_task_v3(tasks[0])

    (image,) = answer.images
    assert image.image_type == "png"
    got = httpx.get(image.image_url, trust_env=False)
    assert got.headers["X-Loupe-Delivered"] == "original"
    assert got.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(got.content)) as found:
        assert (found.mode, found.size) == ("RGBA", SIZE)
        assert found.getchannel("A").getextrema() == (0, 255)


def test_python_client_lists_every_model_once_across_pages(stack: Stack, key: str) -> None:
    client = NovitaClient(key, stack.url)

    everything = client.models_v3()

    names = [model.sd_name for model in everything]
    assert MODEL in names
    assert len(names) == len(set(names)) > 20
    assert {model.visibility for model in everything} == {"public"}
    # The client prefixes every cursor with "c_", so a cursor of Loupe comes back with two.
    paged, cursor = [], None
    for _ in range(len(names)):
        page = client.query_model_v3(limit="7", cursor=cursor)
        paged += [model.sd_name for model in page.models]
        cursor = page.pagination.next_cursor
        if not cursor:
            break
    assert not cursor
    assert paged == names


def test_python_client_filters_models(stack: Stack, key: str) -> None:
    client = NovitaClient(key, stack.url)

    loras = client.query_model_v3(types="lora", limit="100").models
    found = client.query_model_v3(query="alder", visibility="public", is_sdxl=False).models

    assert {model.type.name for model in loras} == {"lora"}
    assert MODEL in [model.sd_name for model in found]
    assert client.query_model_v3(visibility="private").models == []


def test_python_client_accepts_a_base_url_with_a_trailing_slash(
    stack: Stack, key: str, prompt: str
) -> None:
    client = NovitaClient(key, f"{stack.url}/")

    answer = ask(client, prompt)

    assert_is_image(base64.b64decode(answer.images_encoded[0]), "JPEG")
    assert client.query_model_v3(limit="1").models


def test_python_client_raises_an_error_for_a_wrong_key(stack: Stack, prompt: str) -> None:
    client = NovitaClient(WRONG, stack.url)

    with pytest.raises(NovitaResponseError, match=r"403.*INVALID_API_KEY"):
        ask(client, prompt)
    with pytest.raises(NovitaResponseError, match="403"):
        client.models_v3()
    with pytest.raises(NovitaResponseError, match="403"):
        client.async_task_result(str(uuid.uuid4()))


# --- Scenario's Python client ---
@pytest.fixture
def scenario(stack: Stack, key: str) -> Iterator[Scenario]:
    stack.wait_for(
        lambda: stack.count("select count(*) from generation_asset") > 12,
        what="assets",
    )
    base = f"{stack.url}/v1"
    # Strict validation: otherwise the client accepts any JSON as an asset.
    with Scenario(
        api_key=key, api_secret="any", base_url=base, _strict_response_validation=True
    ) as client:
        yield client


def test_scenario_client_lists_every_asset_once(stack: Stack, scenario: Scenario) -> None:
    before = {str(uuid.UUID(row[0])) for row in stack.rows("select uuid from generation_asset")}

    first = scenario.assets.list(page_size=5)
    ids = [asset.id for asset in first]

    assert len(first.assets) == 5
    assert first.has_next_page()
    assert len(ids) == len(set(ids))
    assert before <= set(ids)
    assert {asset.id for asset in scenario.assets.list(page_size=100)} >= before


def test_scenario_client_reads_an_asset_before_and_after_its_decision(
    stack: Stack, key: str, prompt: str, desk: Desk, scenario: Scenario
) -> None:
    task = submit(NovitaClient(key, stack.url), f"{prompt} {UNDECIDED}")
    (review,) = desk.waiting(f"{prompt} {UNDECIDED}", images=1)
    (listed,) = scenario.assets.list(inference_id=task, type="inference-txt2img").assets
    assert (listed.status, listed.nsfw, listed.url) == ("pending", None, "")

    desk.decide(review, "approve")
    asset = scenario.assets.retrieve(listed.id).asset

    assert (asset.status, asset.nsfw) == ("success", [])
    assert asset.metadata.prompt == f"{prompt} {UNDECIDED}"
    assert_is_image(httpx.get(asset.url, trust_env=False).content, "JPEG")


def test_scenario_client_raises_its_own_errors(stack: Stack, scenario: Scenario) -> None:
    with pytest.raises(scenario_sdk.NotFoundError):
        scenario.assets.retrieve(str(uuid.uuid4()))
    with pytest.raises(scenario_sdk.BadRequestError, match="pageSize"):
        scenario.assets.list(page_size=1000)
    with Scenario(api_key=WRONG, api_secret="any", base_url=f"{stack.url}/v1") as stranger:
        with pytest.raises(scenario_sdk.AuthenticationError, match="unknown"):
            stranger.assets.list()
        with pytest.raises(scenario_sdk.AuthenticationError):
            stranger.assets.retrieve(str(uuid.uuid4()))


# --- Novita's JavaScript client ---
@pytest.fixture
def javascript(node_path: str, stack: Stack, key: str) -> Callable[..., Any]:
    def run(*command: str, key: str = key) -> Any:
        env = {"LOUPE_URL": stack.url, "LOUPE_KEY": key}
        done = subprocess.run(
            [node_path, "novita.js", *command],
            cwd=NODE_CLIENTS,
            env=env,
            timeout=2 * ENDED,
            stdout=subprocess.PIPE,
        )
        assert done.returncode == 0
        return json.loads(done.stdout)

    return run


def test_javascript_client_polls_until_a_person_approves(
    javascript: Callable[..., Any], prompt: str, desk: Desk, background: Callable[..., Future[Any]]
) -> None:
    program = background(javascript, "generate", f"{prompt} {UNDECIDED}", "1")
    (review,) = desk.waiting(f"{prompt} {UNDECIDED}", images=1)
    desk.decide(review, "approve")

    told = program.result(timeout=ENDED)

    assert told["statuses"][-2:] == ["TASK_STATUS_PROCESSING", "TASK_STATUS_SUCCEED"]
    (image,) = told["result"]["images"]
    assert_is_image(httpx.get(image["image_url"], trust_env=False).content, "PNG")


def test_javascript_client_lists_every_model_once_across_pages(
    javascript: Callable[..., Any],
) -> None:
    told = javascript("models", "5")

    assert told["cursor"] == ""
    assert [len(page) for page in told["pages"][:-1]] == [5] * (len(told["pages"]) - 1)
    rows = [model for page in told["pages"] for model in page]
    assert {row["type"]["name"] for row in rows} == {"checkpoint"}
    assert MODEL in [row["sd_name"] for row in rows]
    assert len({row["sd_name"] for row in rows}) == len(rows) > 5


def test_javascript_client_gets_the_documented_errors(
    javascript: Callable[..., Any], prompt: str
) -> None:
    unknown = str(uuid.uuid4())

    wrong_key = javascript("generate", prompt, "1", key=WRONG)["error"]
    too_many = javascript("generate", prompt, "9")["error"]
    missing = javascript("progress", unknown)["error"]

    assert (wrong_key["code"], wrong_key["reason"]) == (403, "INVALID_API_KEY")
    assert wrong_key["msg"] == "invalid api-key"
    assert (too_many["code"], too_many["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert (missing["code"], missing["reason"]) == (404, "TASK_NOT_FOUND")
    assert missing["metadata"] == {"task_id": unknown}

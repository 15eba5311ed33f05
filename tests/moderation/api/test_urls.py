"""URLs that programs send, for webhooks and images: blocked addresses and the test mode."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from generation.models import ApiCall, GenerationRequest, ImagesOfDay
from generation.services import requests
from moderation import tasks
from moderation.api.novita import test_mode as webhook_test_mode
from moderation.api.webhooks import client
from moderation.models import Delivery
from tests.moderation.api.calls import CLEAN, LocalServer, classify, make_key, run_local_server
from tests.moderation.api.private_network import PrivateNetwork, simulate_private_network
from tests.moderation.api.test_novita import body, submit

pytestmark = pytest.mark.django_db
HOSTILE = (Path(__file__).parents[2] / "generation" / "hostile_urls.txt").read_text().splitlines()
HOSTILE += [
    "",
    " ",
    "http://",
    "hook.example.com/x",
    "//hook.example.com/",
    "http://hook.example.com/a b",
    "http://hook.example.com/\r\nX-Evil: 1",
    "http://hook.example.com/\x7f",
    "http://hook.example.com:8080/",
    "http://hook.example.com/" + "a" * 9000,
    "javascript:alert(1)",
    "data:text/plain,x",
    "http://\u202ehook.example/",
    "unix:///var/run/docker.sock",
    "http://hook@127.0.0.1/",
    "http://hook.example.com\\@127.0.0.1/",
]
HOOK = "http://hook.example.com/x?secret=theirs"
PRIVATE = [
    ["127.0.0.1"],
    ["10.1.2.3"],
    ["169.254.169.254"],
    ["168.63.129.16"],
    ["0.0.0.0"],
    ["100.64.0.1"],
    ["192.168.0.1"],
    ["::1"],
    ["fd00::1"],
    ["fe80::1"],
    ["::ffff:127.0.0.1"],
    ["64:ff9b::7f00:1"],
    ["2002:7f00:1::"],
    ["93.184.216.34", "127.0.0.1"],
    ["2606:4700::1111", "::1"],
]
NOT_PUBLIC = "The URL may not be called: The host is not on the public internet."


@pytest.fixture
def key(settings: Any) -> str:
    settings.CLASSIFIERS = ["sandbox"]
    return make_key("generate", "classify", calls_per_minute=10_000)


@pytest.fixture
def network() -> Iterator[PrivateNetwork]:
    with simulate_private_network() as found:
        yield found


@pytest.fixture
def hook(settings: Any) -> Iterator[LocalServer]:
    with run_local_server() as found:
        settings.CALLER_ALLOW = [found.address]
        yield found


def with_webhook(url: str, test: str = "", **fields: Any) -> dict[str, Any]:
    webhook: dict[str, Any] = {"url": url}
    if test:
        webhook["test_mode"] = {"enabled": True, "return_task_status": test}
    return {**body(**fields), "extra": {"webhook": webhook}}


def create_due_event(key: str, url: str = HOOK) -> None:
    """Create a cancelled request with a webhook event that is due."""
    assert submit(key, with_webhook(url)).status_code == 200
    requests.cancel_request(request=GenerationRequest.objects.get())


def deliver_again() -> Delivery:
    Delivery.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
    tasks.deliver()
    return Delivery.objects.get()


# --- Refused by the URL alone ---
@pytest.mark.parametrize("test", ["", "TASK_STATUS_SUCCEED"])
def test_hostile_webhook_urls_return_400_at_submission(
    key: str, network: PrivateNetwork, test: str
) -> None:
    wrong = []
    for url in HOSTILE:
        answer = submit(key, with_webhook(url, test))
        reason, message = answer.json()["reason"], answer.json()["message"]
        echoed = len(url) > 8 and url in message
        if (answer.status_code, reason) != (400, "INVALID_REQUEST_BODY") or echoed:
            wrong.append((url, answer.status_code, message))

    assert wrong == []
    assert len(HOSTILE) > 180
    assert not GenerationRequest.objects.exists()
    assert (network.lookups, network.tried_addresses, network.accepted_connections) == ([], [], 0)


def test_simulated_network_detects_allowed_private_connection(
    key: str, network: PrivateNetwork, settings: Any
) -> None:
    """Proves that the simulation works: an allowed private host is reached."""
    settings.CALLER_ALLOW = ["hook.example.com:80"]
    network.names["hook.example.com"] = [["127.0.0.1"]]
    assert submit(key, with_webhook(HOOK, "TASK_STATUS_SUCCEED")).status_code == 200
    assert (network.tried_addresses, network.accepted_connections, network.is_unreached) == (
        ["127.0.0.1"],
        1,
        False,
    )


# --- Refused by the IP address ---
@pytest.mark.parametrize("numbers", PRIVATE, ids=" ".join)
def test_webhook_host_with_private_address_is_never_called(
    key: str, network: PrivateNetwork, numbers: list[str]
) -> None:
    network.names["hook.example.com"] = [numbers]
    assert (
        submit(key, with_webhook(HOOK, "TASK_STATUS_SUCCEED")).json()["message"]
        == webhook_test_mode.REFUSED
    )
    create_due_event(key)
    assert network.lookups == ["hook.example.com"], "the submission itself looks up no host"
    tasks.deliver()

    delivery = deliver_again()
    assert (delivery.status, delivery.error, delivery.attempts) == ("failed", NOT_PUBLIC, 1)
    assert len(network.lookups) == 2
    assert (network.tried_addresses, network.accepted_connections) == ([], 0)


def test_webhook_host_rebound_to_private_address_is_never_called(
    key: str, network: PrivateNetwork
) -> None:
    network.names["hook.example.com"] = [["93.184.216.34"], ["127.0.0.1"]]
    create_due_event(key)
    tasks.deliver()
    assert (network.lookups, network.tried_addresses) == (["hook.example.com"], ["93.184.216.34"])
    assert Delivery.objects.get().status == "waiting"

    assert deliver_again().error == NOT_PUBLIC
    assert network.tried_addresses == ["93.184.216.34"]
    assert network.is_unreached


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_webhook_redirect_is_an_error_and_is_not_followed(
    key: str, network: PrivateNetwork, hook: LocalServer, status: int
) -> None:
    hook.location = f"http://{network.address}/admin"
    hook.replies = [status, status]
    assert submit(key, with_webhook(hook.url, "TASK_STATUS_SUCCEED")).status_code == 400
    create_due_event(key, hook.url)
    tasks.deliver()

    assert Delivery.objects.get().error == f"The server answered {status}."
    assert len(hook.posts) == 2
    assert network.is_unreached


def test_webhook_removed_from_allow_list_is_not_called(
    key: str, network: PrivateNetwork, hook: LocalServer, settings: Any
) -> None:
    create_due_event(key, hook.url)
    settings.CALLER_ALLOW = []
    tasks.deliver()

    assert Delivery.objects.get().status == "failed"
    assert hook.posts == []


# --- Images ---
@pytest.mark.parametrize("numbers", PRIVATE, ids=" ".join)
def test_images_on_private_addresses_are_not_fetched(
    key: str, network: PrivateNetwork, hook: LocalServer, numbers: list[str]
) -> None:
    network.names["img.example.com"] = [numbers]
    hook.put("/r", b"", 302, Location="http://img.example.com/a.png")
    hook.put("/s", b"", 307, Location="https://img.example.com/a.png")
    for url in (
        "http://img.example.com/a.png",
        f"http://{hook.address}/r",
        f"http://{hook.address}/s",
    ):
        answer = classify(key, {"image_urls": [url]})
        assert (answer.status_code, answer.json()) == (400, {"error": "Image 1 could not be read."})

    assert [name for name in network.lookups if name == "img.example.com"] == [
        "img.example.com"
    ] * 3
    assert (network.tried_addresses, network.accepted_connections) == ([], 0)


def test_redirect_from_allowed_server_to_private_address_returns_400(
    key: str, network: PrivateNetwork, hook: LocalServer
) -> None:
    ordinary = hook.put("/good.png", CLEAN)
    targets = [
        f"http://{network.address}/",
        f"//{network.address}/",
        f"http://localhost:{network.address.partition(':')[2]}/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://127.1/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://a@127.0.0.1/",
    ]
    for number, target in enumerate(targets):
        hook.put(f"/first{number}", b"", 302, Location=target)
        hook.put(f"/second{number}", b"", 302, Location=f"/first{number}")
        for path in (f"/first{number}", f"/second{number}"):
            answer = classify(key, {"image_urls": [ordinary, f"http://{hook.address}{path}"]})
            assert (answer.status_code, answer.json()) == (
                400,
                {"error": "Image 2 could not be read."},
            ), target

    assert hook.requested_paths.count("/good.png") == 2 * len(targets)
    assert (network.lookups, network.tried_addresses, network.accepted_connections) == ([], [], 0)


def test_image_host_is_looked_up_once_per_image(key: str, network: PrivateNetwork) -> None:
    network.names["img.example.com"] = [["93.184.216.34"], ["127.0.0.1"]]

    assert classify(key, {"image_urls": "http://img.example.com/a.png"}).status_code == 400
    assert (network.lookups, network.tried_addresses) == (["img.example.com"], ["93.184.216.34"])
    assert classify(key, {"image_urls": "http://img.example.com/a.png"}).status_code == 400
    assert network.tried_addresses == ["93.184.216.34"]


# --- Test mode of webhooks ---
@pytest.mark.parametrize(
    ("status", "images"), [("TASK_STATUS_SUCCEED", 3), ("TASK_STATUS_FAILED", 0)]
)
def test_test_mode_sends_one_event_and_generates_nothing(
    key: str, hook: LocalServer, status: str, images: int
) -> None:
    answer = submit(key, with_webhook(hook.url, status, image_num=3))

    assert (answer.status_code, list(answer.json())) == (200, ["task_id"])
    (post,) = hook.posts
    event = post.event
    assert event["event_type"] == "ASYNC_TASK_RESULT"
    task = event["payload"]["task"]
    assert (task["task_id"], task["status"]) == (answer.json()["task_id"], status)
    assert len(event["payload"]["images"]) == images
    assert event["payload"]["extra"]["webhook"]["test_mode"] == {
        "enabled": True,
        "return_task_status": status,
    }
    assert event["payload"]["extra"]["moderation"]["event"] == "test"
    assert post.headers["x-loupe-signature"].startswith("t=")
    assert not GenerationRequest.objects.exists()
    assert not Delivery.objects.exists()
    assert not ImagesOfDay.objects.exists()
    assert ApiCall.objects.get().images == 0


def test_disabled_test_mode_creates_a_request(key: str, hook: LocalServer) -> None:
    content = with_webhook(hook.url, "TASK_STATUS_SUCCEED")
    content["extra"]["webhook"]["test_mode"]["enabled"] = False

    assert submit(key, content).status_code == 200
    assert GenerationRequest.objects.get().callback_url == hook.url
    assert hook.posts == []


def test_all_webhook_errors_in_test_mode_return_identical_400(
    key: str,
    hook: LocalServer,
    network: PrivateNetwork,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    network.names["hook.example.com"] = [["10.0.0.1"]]
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    refusing = f"127.0.0.1:{closed.getsockname()[1]}"
    settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, refusing]
    hook.replies = [404, 500, 302, 0]
    urls = [*[hook.url] * 4, f"http://{refusing}/", HOOK, "http://nowhere.example.com/"]
    try:
        answers = [submit(key, with_webhook(url, "TASK_STATUS_FAILED")) for url in urls]
    finally:
        closed.close()

    assert {(answer.status_code, answer.content) for answer in answers} == {
        (
            400,
            json.dumps(
                {
                    "code": 400,
                    "reason": "INVALID_REQUEST_BODY",
                    "message": webhook_test_mode.REFUSED,
                    "metadata": {},
                }
            ).encode(),
        )
    }
    assert len(hook.posts) == 4
    assert not GenerationRequest.objects.exists()
    assert network.accepted_connections == 0


@pytest.mark.parametrize(
    "test_mode",
    [
        True,
        "yes",
        [],
        {"enabled": "true", "return_task_status": "TASK_STATUS_SUCCEED"},
        {"enabled": True},
        {"enabled": True, "return_task_status": "TASK_STATUS_QUEUED"},
    ],
)
def test_incomplete_test_mode_returns_400_and_sends_nothing(
    key: str, hook: LocalServer, test_mode: Any
) -> None:
    content = with_webhook(hook.url)
    content["extra"]["webhook"]["test_mode"] = test_mode

    assert submit(key, content).status_code == 400
    assert hook.posts == []

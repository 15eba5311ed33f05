"""Addresses that programs give us to call or to fetch: what none of them may ever reach. And the
webhook's test.
"""

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
from moderation.api.novita import test_mode as trial
from moderation.api.webhooks import client
from moderation.models import Delivery
from tests.moderation.api.calls import CLEAN, Shelf, classify, make_key, shelf
from tests.moderation.api.secret_detector import Tripwire, tripwire
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
def wire() -> Iterator[Tripwire]:
    with tripwire() as found:
        yield found


@pytest.fixture
def hook(settings: Any) -> Iterator[Shelf]:
    with shelf() as found:
        settings.CALLER_ALLOW = [found.address]
        yield found


def with_webhook(url: str, test: str = "", **fields: Any) -> dict[str, Any]:
    webhook: dict[str, Any] = {"url": url}
    if test:
        webhook["test_mode"] = {"enabled": True, "return_task_status": test}
    return {**body(**fields), "extra": {"webhook": webhook}}


def owed(key: str, url: str = HOOK) -> None:
    """A request that has ended, and whose program waits to be told."""
    assert submit(key, with_webhook(url)).status_code == 200
    requests.cancel_request(request=GenerationRequest.objects.get())


def deliver_again() -> Delivery:
    Delivery.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
    tasks.deliver()
    return Delivery.objects.get()


# --- By the text alone ---
@pytest.mark.parametrize("test", ["", "TASK_STATUS_SUCCEED"])
def test_hostile_addresses_are_refused_when_they_are_handed_in(
    key: str, wire: Tripwire, test: str
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
    assert (wire.lookups, wire.dialled, wire.touched) == ([], [], 0)


def test_the_tripwire_would_be_felt(key: str, wire: Tripwire, settings: Any) -> None:
    """With the guard told to trust the name, everything below does reach it."""
    settings.CALLER_ALLOW = ["hook.example.com:80"]
    wire.names["hook.example.com"] = [["127.0.0.1"]]
    assert submit(key, with_webhook(HOOK, "TASK_STATUS_SUCCEED")).status_code == 200
    assert (wire.dialled, wire.touched, wire.is_untouched) == (["127.0.0.1"], 1, False)


# --- By the numbers ---
@pytest.mark.parametrize("numbers", PRIVATE, ids=" ".join)
def test_a_name_that_resolves_privately_is_never_called(
    key: str, wire: Tripwire, numbers: list[str]
) -> None:
    wire.names["hook.example.com"] = [numbers]
    assert submit(key, with_webhook(HOOK, "TASK_STATUS_SUCCEED")).json()["message"] == trial.REFUSED
    owed(key)
    assert wire.lookups == ["hook.example.com"], "handing it in looks nothing up"
    tasks.deliver()

    delivery = deliver_again()
    assert (delivery.status, delivery.error, delivery.attempts) == ("failed", NOT_PUBLIC, 1)
    assert len(wire.lookups) == 2
    assert (wire.dialled, wire.touched) == ([], 0)


def test_rebinding_between_look_up_and_call_or_between_attempts_reaches_nothing(
    key: str, wire: Tripwire
) -> None:
    wire.names["hook.example.com"] = [["93.184.216.34"], ["127.0.0.1"]]
    owed(key)
    tasks.deliver()
    assert (wire.lookups, wire.dialled) == (["hook.example.com"], ["93.184.216.34"])
    assert Delivery.objects.get().status == "waiting"

    assert deliver_again().error == NOT_PUBLIC
    assert wire.dialled == ["93.184.216.34"]
    assert wire.is_untouched


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_refusal_and_is_not_followed(
    key: str, wire: Tripwire, hook: Shelf, status: int
) -> None:
    hook.location = f"http://{wire.address}/admin"
    hook.replies = [status, status]
    assert submit(key, with_webhook(hook.url, "TASK_STATUS_SUCCEED")).status_code == 400
    owed(key, hook.url)
    tasks.deliver()

    assert Delivery.objects.get().error == f"The server answered {status}."
    assert len(hook.letters) == 2
    assert wire.is_untouched


def test_an_allowance_that_was_withdrawn_is_noticed_at_the_call(
    key: str, wire: Tripwire, hook: Shelf, settings: Any
) -> None:
    owed(key, hook.url)
    settings.CALLER_ALLOW = []
    tasks.deliver()

    assert Delivery.objects.get().status == "failed"
    assert hook.letters == []


# --- Images ---
@pytest.mark.parametrize("numbers", PRIVATE, ids=" ".join)
def test_images_are_not_fetched_from_private_places(
    key: str, wire: Tripwire, hook: Shelf, numbers: list[str]
) -> None:
    wire.names["img.example.com"] = [numbers]
    hook.put("/r", b"", 302, Location="http://img.example.com/a.png")
    hook.put("/s", b"", 307, Location="https://img.example.com/a.png")
    for url in (
        "http://img.example.com/a.png",
        f"http://{hook.address}/r",
        f"http://{hook.address}/s",
    ):
        answer = classify(key, {"image_urls": [url]})
        assert (answer.status_code, answer.json()) == (400, {"error": "Image 1 could not be read."})

    assert [name for name in wire.lookups if name == "img.example.com"] == ["img.example.com"] * 3
    assert (wire.dialled, wire.touched) == ([], 0)


def test_a_redirect_from_an_allowed_server_is_judged_anew(
    key: str, wire: Tripwire, hook: Shelf
) -> None:
    ordinary = hook.put("/good.png", CLEAN)
    targets = [
        f"http://{wire.address}/",
        f"//{wire.address}/",
        f"http://localhost:{wire.address.partition(':')[2]}/",
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

    assert hook.asked.count("/good.png") == 2 * len(targets)
    assert (wire.lookups, wire.dialled, wire.touched) == ([], [], 0)


def test_rebinding_finds_one_lookup_per_image(key: str, wire: Tripwire) -> None:
    wire.names["img.example.com"] = [["93.184.216.34"], ["127.0.0.1"]]

    assert classify(key, {"image_urls": "http://img.example.com/a.png"}).status_code == 400
    assert (wire.lookups, wire.dialled) == (["img.example.com"], ["93.184.216.34"])
    assert classify(key, {"image_urls": "http://img.example.com/a.png"}).status_code == 400
    assert wire.dialled == ["93.184.216.34"]


# --- The webhook's test ---
@pytest.mark.parametrize(
    ("status", "images"), [("TASK_STATUS_SUCCEED", 3), ("TASK_STATUS_FAILED", 0)]
)
def test_test_mode_sends_one_event_during_the_call_and_generates_nothing(
    key: str, hook: Shelf, status: str, images: int
) -> None:
    answer = submit(key, with_webhook(hook.url, status, image_num=3))

    assert (answer.status_code, list(answer.json())) == (200, ["task_id"])
    (letter,) = hook.letters
    event = letter.event
    assert event["event_type"] == "ASYNC_TASK_RESULT"
    task = event["payload"]["task"]
    assert (task["task_id"], task["status"]) == (answer.json()["task_id"], status)
    assert len(event["payload"]["images"]) == images
    assert event["payload"]["extra"]["webhook"]["test_mode"] == {
        "enabled": True,
        "return_task_status": status,
    }
    assert event["payload"]["extra"]["moderation"]["event"] == "test"
    assert letter.headers["x-loupe-signature"].startswith("t=")
    assert not GenerationRequest.objects.exists()
    assert not Delivery.objects.exists()
    assert not ImagesOfDay.objects.exists()
    assert ApiCall.objects.get().images == 0


def test_test_mode_that_is_off_is_an_ordinary_order(key: str, hook: Shelf) -> None:
    content = with_webhook(hook.url, "TASK_STATUS_SUCCEED")
    content["extra"]["webhook"]["test_mode"]["enabled"] = False

    assert submit(key, content).status_code == 200
    assert GenerationRequest.objects.get().callback_url == hook.url
    assert hook.letters == []


def test_every_way_of_not_taking_it_reads_alike(
    key: str, hook: Shelf, wire: Tripwire, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    wire.names["hook.example.com"] = [["10.0.0.1"]]
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
                    "message": trial.REFUSED,
                    "metadata": {},
                }
            ).encode(),
        )
    }
    assert len(hook.letters) == 4
    assert not GenerationRequest.objects.exists()
    assert wire.touched == 0


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
def test_half_a_test_mode_sends_nothing(key: str, hook: Shelf, test_mode: Any) -> None:
    content = with_webhook(hook.url)
    content["extra"]["webhook"]["test_mode"] = test_mode

    assert submit(key, content).status_code == 400
    assert hook.letters == []

"""nano-gpt's classification endpoint: format, verdicts, errors, and blocked addresses."""

from __future__ import annotations

import html
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from PIL import Image

from generation import fetching, imaging
from generation.models import ApiCall, ApiKey, Asset
from generation.providers.nanogpt import NanoGpt
from generation.sandbox import marker
from generation.wire import nanogpt as wire
from moderation import classifiers, taxonomy
from moderation.api import instant_classification
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.classifiers.picture import Picture
from moderation.classifiers.sandbox import Sandbox
from moderation.models import HashList, Policy, Review
from moderation.services import hash_lists
from tests.conftest import picture
from tests.moderation.api.calls import (
    CLEAN,
    NUDE,
    LocalServer,
    classify,
    data_url,
    make_key,
    make_marked_image,
    run_local_server,
)
from tests.moderation.api.nsfw_bodies import bodies
from tests.moderation.page_helpers import TRUSTING_LOCAL, ClientOf, decide

pytestmark = pytest.mark.django_db
UNREADABLE = {"error": "Image 1 could not be read."}
HOSTILE = (Path(__file__).parents[2] / "generation" / "hostile_urls.txt").read_text().splitlines()
CASES = list(bodies())
ALL = {category.slug: Coverage.FULL for category in taxonomy.L1}


@pytest.fixture(autouse=True)
def _sandbox_alone(settings: Any) -> None:
    """Use the sandbox's classifier only: the local detector gives random results on noise."""
    settings.CLASSIFIERS = ["sandbox"]


@pytest.fixture
def key() -> str:
    return make_key("classify", calls_per_minute=10_000)


@pytest.fixture
def image_server(settings: Any) -> Iterator[LocalServer]:
    with run_local_server() as found:
        settings.CALLER_ALLOW = [found.address]
        yield found


# --- The format ---
def test_response_has_nanogpt_format_and_no_cost(key: str) -> None:
    answer = classify(
        key, {"imageDataUrls": [data_url(CLEAN), data_url(NUDE)], "model": "nsfw-classifier"}
    )

    body = answer.json()
    assert answer.status_code == 200, body
    assert body.pop("requestId").startswith("req_")
    assert body == {
        "model": "nsfw-classifier",
        "inputCount": 2,
        "cost": 0.0,
        "currency": "USD",
        "truncated": False,
        "has_nsfw_concepts": [False, True],
        "is_nsfw": True,
    }
    assert answer["X-Loupe-Classifiers"] == "sandbox"
    assert "X-Loupe-Assets" not in answer
    assert Asset.objects.count() == 0


def test_example_of_developers_page_returns_200(
    key: str, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sandbox's classifier only judges images of the sandbox. The example has another image.
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: Assessment(covers=ALL))
    browser = Client()
    browser.force_login(moderator)
    page = html.unescape(browser.get("/developers/").content.decode())
    (body,) = re.findall(r"""-d '(\{"imageDataUrl".*?\})'""", page)

    assert classify(key, json.loads(body)).json()["inputCount"] == 1
    assert "example.com" not in page


@pytest.mark.parametrize("field", wire.IMAGE_FIELDS)
@pytest.mark.parametrize("many", [False, True])
def test_every_image_field_accepts_string_or_list(key: str, field: str, many: bool) -> None:
    image = data_url(NUDE)

    assert classify(key, {field: [image] if many else image}).json()["has_nsfw_concepts"] == [True]


def test_images_of_all_fields_are_classified_in_order(key: str, image_server: LocalServer) -> None:
    body = {
        "imageDataUrls": [data_url(CLEAN), data_url(NUDE)],
        "image_urls": image_server.put("/a.png", NUDE),
        "imageUrl": [image_server.put("/b.webp", make_marked_image(image_format="WEBP"))],
    }

    assert classify(key, body).json()["has_nsfw_concepts"] == [True, False, False, True]


def test_images_beyond_ten_are_dropped_and_not_counted(key: str) -> None:
    images = [data_url(NUDE), *[data_url(CLEAN)] * 9, data_url(NUDE), "nonsense"]

    body = classify(key, {"imageDataUrls": images}).json()

    assert (body["inputCount"], body["truncated"]) == (10, True)
    assert body["has_nsfw_concepts"] == [True, *[False] * 9]
    assert ApiCall.objects.get().images == 10


def test_nanogpt_client_parses_response(live_server: Any) -> None:
    key = make_key("classify")
    client = NanoGpt(api_key=key, base_url=live_server.url, label="Loupe")

    verdicts = client.classify([(CLEAN, "image/png"), (NUDE, "image/png")])

    assert [verdict.flagged for verdict in verdicts] == [False, True]
    assert [verdict.cost for verdict in verdicts] == [Decimal(0), Decimal(0)]


def test_image_urls_are_fetched_in_parallel(
    key: str, image_server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fetching.fetch
    together = threading.Barrier(10, timeout=60)

    def fetch_together(*args: Any, **options: Any) -> Any:
        together.wait()
        return real(*args, **options)

    monkeypatch.setattr(fetching, "fetch", fetch_together)
    monkeypatch.setattr(instant_classification, "FETCH_SECONDS", 300.0)
    body = classify(
        key, {"imageUrls": [image_server.put(f"/{n}.png", CLEAN) for n in range(10)]}
    ).json()

    assert body["inputCount"] == 10
    assert not together.broken


def test_body_of_twelve_mebibytes_is_accepted_only_here(key: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1800, 1800, 3), dtype=np.uint8)
    large = marked_copy(Image.fromarray(noise))
    body = json.dumps({"imageDataUrl": data_url(large)}).encode()
    assert len(body) > 12 * 1024 * 1024

    assert classify(key, body).json()["has_nsfw_concepts"] == [False]
    form = "application/x-www-form-urlencoded"
    assert Client().post("/login/", body, content_type=form).status_code == 400


def marked_copy(image: Image.Image) -> bytes:
    marker.draw_marker(image, [])
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=0)
    return file.getvalue()


# --- Verdicts ---
@pytest.mark.parametrize(
    ("level", "labels", "flagged"),
    [
        (0, [("explicit.nudity", 90)], True),
        (0, [("explicit.nudity", 1)], False),
        (0, [("explicit", 90)], True),
        (0, [("hate-symbols.nazi", 90)], True),
        (0, [("non-explicit.nudity", 90)], False),
        (1, [("non-explicit.nudity", 90)], True),
        (1, [("swimwear-underwear.female", 99)], False),
        (2, [("violence.graphic", 99)], False),
        (2, [("alcohol.use", 99), ("explicit.sex-toys", 99)], True),
    ],
)
def test_nsfw_level_of_policy_selects_categories(
    key: str, level: int, labels: list[tuple[str, int]], flagged: bool
) -> None:
    Policy.objects.update(nsfw_level=level)

    assert (
        classify(key, {"imageDataUrl": data_url(make_marked_image(*labels))}).json()["is_nsfw"]
        is flagged
    )


def test_thresholds_of_policy_are_used_and_category_without_rule_is_ignored(
    key: str,
) -> None:
    image = {"imageDataUrl": data_url(make_marked_image(("explicit.nudity", 60)))}
    rules = Policy.objects.active().rules
    rules.filter(category__startswith="explicit").delete()
    assert classify(key, image).json()["is_nsfw"] is False
    rules.create(category="explicit", review_at=None, reject_at=60)
    assert classify(key, image).json()["is_nsfw"] is True
    rules.update(review_at=None, reject_at=61)
    assert classify(key, image).json()["is_nsfw"] is False


@pytest.mark.parametrize(
    ("assessment", "flagged"),
    [
        (
            Assessment(
                findings=(Finding(category="explicit.nudity", confidence=Decimal(1)),), covers=ALL
            ),
            False,
        ),
        (
            Assessment(
                findings=(Finding(category="explicit.nudity", confidence=None),), covers=ALL
            ),
            True,
        ),
        (Assessment(flagged=True, covers=ALL), True),
        (Assessment(score=Decimal(20), covers=ALL, raw={"level": 0}), True),
        (Assessment(score=Decimal(19), covers=ALL, raw={"level": 0}), False),
        (Assessment(score=Decimal(97), covers=ALL, raw={"level": 2}), None),
        (Assessment(score=Decimal(97), covers=ALL), None),
        (Assessment(covers=ALL), False),
        (Assessment(covers={"explicit": Coverage.FULL}), None),
        (Assessment(), None),
    ],
)
def test_true_needs_evidence_false_needs_coverage_otherwise_422(
    key: str, monkeypatch: pytest.MonkeyPatch, assessment: Assessment, flagged: bool | None
) -> None:
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: assessment)

    answer = classify(key, {"imageDataUrl": data_url(CLEAN)})

    if flagged is None:
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("Image 1 is neither true nor false: ")
        assert "Retry-After" not in answer
    else:
        assert (answer.status_code, answer.json()["is_nsfw"]) == (200, flagged)


@pytest.mark.parametrize(
    "change", [{"may_approve": False}, {"trusted_silences": []}, {"accepted_unchecked": []}]
)
def test_clean_image_that_policy_would_not_approve_returns_422(
    key: str, settings: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    Policy.objects.update(**{"may_approve": True, **TRUSTING_LOCAL})
    monkeypatch.setattr(classifiers, "list_picture_classifiers", lambda: [SilentClassifier()])
    images = {"imageDataUrls": [data_url(CLEAN), data_url(NUDE)]}
    monkeypatch.setattr(classifiers, "silence_counts", lambda slug: False)
    assert classify(key, images).json()["has_nsfw_concepts"] == [False, False]

    Policy.objects.update(**change)
    answer = classify(key, images)

    assert answer.status_code == 422
    assert (
        "policy version 1" in answer.json()["error"]
        or "no classifier checked" in answer.json()["error"]
    )
    assert ApiCall.objects.order_by("-pk")[0].images == 0


def test_clean_first_frame_of_several_returns_422(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: Assessment(covers=ALL))
    frames = [Image.open(io.BytesIO(picture(number))) for number in range(3)]
    moving, still = io.BytesIO(), io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    frames[0].save(still, "GIF")

    doubt = classify(key, {"imageDataUrl": data_url(moving.getvalue())})

    assert doubt.status_code == 422
    assert "it has 3 frames, and only the first was kept" in doubt.json()["error"]
    assert classify(key, {"imageDataUrl": data_url(still.getvalue())}).json()["is_nsfw"] is False


def resave(content: bytes, quality: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").save(file, "JPEG", quality=quality)
    return file.getvalue()


def list_hash(content: bytes, algorithm: str, category: str) -> None:
    """Put the hash of an image on a block list."""
    rendition = imaging.render(content)
    value = rendition.pdq if algorithm == "pdq" else bytes.fromhex(rendition.sha256)
    assert value
    lines = f"hash,algorithm,category\n{value.hex()},{algorithm},{category}\n"
    hash_list = HashList.objects.create(name="Exchange")
    hash_lists.import_entries(hash_list=hash_list, content=lines.encode())


@pytest.mark.parametrize(
    ("algorithm", "category", "flagged"),
    [
        ("sha256", "explicit.nudity", True),
        ("sha256", "violence.weapons", False),  # not on the policy's NSFW level
        ("sha256", "", None),
        ("pdq", "explicit.nudity", None),
        ("pdq", "violence.weapons", None),
    ],
)
def test_file_on_block_list_is_true_and_look_alike_is_in_doubt(
    key: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
    category: str,
    flagged: bool | None,
) -> None:
    settings.CLASSIFIERS = ["hashes", "sandbox"]
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: Assessment(covers=ALL))
    image = {"imageDataUrl": data_url(picture(1))}
    assert classify(key, image).json()["is_nsfw"] is False

    list_hash(picture(1), algorithm, category)
    answer = classify(key, image)

    if flagged is None:
        assert answer.status_code == 422
        assert "an entry of a block list" in answer.json()["error"]
        assert "Exchange" not in answer.json()["error"]
    else:
        assert (answer.status_code, answer.json()["is_nsfw"]) == (200, flagged)
        assert answer["X-Loupe-Classifiers"] == "sandbox, hashes"


def test_rejected_file_is_true_and_its_look_alike_is_in_doubt(
    key: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    client_of: ClientOf,
    moderator: User,
    make_asset: Any,
) -> None:
    settings.CLASSIFIERS = ["hashes", "sandbox"]
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: Assessment(covers=ALL))
    review = make_asset(picture(1)).review
    Review.objects.filter(pk=review.pk).update(status="pending")
    review.refresh_from_db()
    assert review.claim_for(moderator)
    data = {"categories": ["explicit.nudity"]}
    assert decide(client_of(moderator), review, "reject", **data).status_code < 400

    same = classify(key, {"imageDataUrl": data_url(picture(1))})
    near = classify(key, {"imageDataUrl": data_url(resave(picture(1), 80))})
    other = classify(key, {"imageDataUrl": data_url(picture(2))})

    assert (same.status_code, same.json()["is_nsfw"]) == (200, True)
    assert near.status_code == 422
    error = near.json()["error"]
    assert "It looks like a rejected image." in error
    assert moderator.username not in error
    assert review.asset.short_id not in error
    assert (other.status_code, other.json()["is_nsfw"]) == (200, False)


def test_review_true_sends_uncovered_image_to_a_person(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "list_picture_classifiers", lambda: [SilentClassifier()])
    address = "/api/nsfw/image?review=true"
    Policy.objects.update(trusted_silences=["local"], accepted_unchecked=[])

    answer = classify(key, {"imageDataUrl": data_url(CLEAN)}, path=address)

    assert (answer.status_code, answer.json()["error"].count("no classifier checked")) == (422, 1)
    assert Review.objects.get().asset.source == "api"


class SilentClassifier:
    """A local detector with partial coverage and no findings."""

    slug = "local"

    def assess(self, picture: Picture) -> Assessment:
        seen = ("explicit", "non-explicit", "swimwear-underwear")
        return Assessment(covers=dict.fromkeys(seen, Coverage.PARTIAL))


def test_undecided_image_with_review_returns_422_and_is_stored(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: Assessment())

    answer = classify(key, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=true")

    assert answer.status_code == 422
    assert answer["X-Loupe-Assets"] == str(Asset.objects.get().uuid)
    call = ApiCall.objects.get()
    assert (call.status, call.images) == (422, 1)
    assert call.reason.startswith("Image 1 is neither true nor false")


def test_image_without_classification_returns_503(
    key: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {"imageDataUrls": [data_url(CLEAN), data_url(picture(3))]}
    unknown = classify(key, images)
    assert (unknown.status_code, unknown.json()) == (
        503,
        {"error": "No classifier in use here knows this kind of image."},
    )

    def fail(self: Any, content: bytes) -> Assessment:
        raise ClassifierError("The net is on fire.", retryable=True)

    monkeypatch.setattr(Sandbox, "assess", fail)
    failed = classify(key, images)
    assert failed.status_code == 503
    assert failed["Retry-After"] == "5"
    assert b"fire" not in failed.content
    settings.CLASSIFIERS = ["novita"]
    alone = classify(key, images)
    assert alone.status_code == 503
    assert "can classify an image that is not stored" in alone.json()["error"]


def test_local_detector_takes_part(key: str, settings: Any) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `local` is not installed")
    settings.CLASSIFIERS = ["local", "sandbox"]

    images = {"imageDataUrls": [data_url(picture(3)), data_url(NUDE)]}
    doubt = classify(key, images)
    assert (doubt.status_code, "no classifier checked" in doubt.json()["error"]) == (422, True)
    Policy.objects.update(**TRUSTING_LOCAL)
    answer = classify(key, images)

    assert answer.json()["has_nsfw_concepts"] == [False, True]
    assert answer["X-Loupe-Classifiers"] == "local, sandbox"


# --- Into the queue ---
def test_review_true_stores_each_image_once(django_user_model: Any) -> None:
    owner = django_user_model.objects.create_user("maker")
    key = make_key("classify", owner=owner)
    body = {"imageDataUrls": [data_url(NUDE), data_url(CLEAN), data_url(NUDE)]}

    answers = [classify(key, body, path="/api/nsfw/image?review=true") for _ in range(2)]

    first, second, third = answers[0]["X-Loupe-Assets"].split(", ")
    assert first == third != second
    assert answers[1]["X-Loupe-Assets"] == answers[0]["X-Loupe-Assets"]
    stored = Asset.objects.get(uuid=first)
    assert (stored.source, stored.stored_by) == ("api", owner)
    assert stored.external_id.startswith(f"{ApiKey.objects.get().uuid}:")
    assert Asset.objects.count() == Review.objects.count() == 2


def test_failed_call_or_review_false_stores_nothing(key: str) -> None:
    body = {"imageDataUrls": [data_url(CLEAN), "nonsense"]}

    assert classify(key, body, path="/api/nsfw/image?review=true").status_code == 400
    assert (
        classify(
            key, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=false"
        ).status_code
        == 200
    )
    assert (
        classify(
            key, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=perhaps"
        ).status_code
        == 400
    )
    assert Asset.objects.count() == 0


# --- Refusals ---
def test_errors_of_keys_scopes_methods_and_limits_have_nanogpt_format(key: str) -> None:
    image = {"imageDataUrl": data_url(CLEAN)}
    day = make_key("classify", images_per_day=1)

    for sent in ("", "wrong"):
        answer = classify(sent, image)
        assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert answer["X-Loupe-Detail"].endswith(".")
    assert classify(make_key("read"), image).status_code == 403
    wrong = Client().get("/api/nsfw/image", headers={"x-api-key": key})
    assert (wrong.status_code, wrong["Allow"]) == (405, "POST")
    assert isinstance(wrong.json()["error"], str)
    assert classify(day, image).status_code == 200
    spent = classify(day, image)
    assert spent.status_code == 429
    assert spent.json()["error"]["code"] == "daily_rpd_limit_exceeded"
    assert int(spent["Retry-After"]) > 0
    limited = classify(make_key("classify", calls_per_minute=0), image)
    assert limited.json() == {"error": "Rate limit exceeded"}
    assert limited["X-Loupe-Detail"].startswith("This API key is limited to")
    assert limited["Retry-After"]


def test_bearer_and_raw_keys_return_200_and_session_returns_401(key: str, admin: Any) -> None:
    image = {"imageDataUrl": data_url(CLEAN)}
    browser = Client()
    browser.force_login(admin)

    assert classify("", image, authorization=f"Bearer {key}").status_code == 200
    assert classify("", image, authorization=key).status_code == 200
    assert (
        browser.post("/api/nsfw/image", image, content_type="application/json").status_code == 401
    )


def test_invalid_bodies_return_documented_4xx(key: str) -> None:
    wrong = []
    for name, raw, statuses in CASES:
        answer = classify(key, raw)
        shaped = answer["Content-Type"] == "application/json" and isinstance(
            answer.json().get("error"), str
        )
        if answer.status_code not in statuses or not shaped:
            wrong.append((name, answer.status_code, answer.content[:100]))
    assert len(CASES) >= 150
    assert wrong == []
    assert ApiCall.objects.count() == len(CASES)
    assert Asset.objects.count() == 0


def test_wrong_content_length_returns_400_or_413(key: str) -> None:
    for length in ("9" * 5000, "-1", "abc", "1e3", str(40 * 1024 * 1024)):
        answer = classify(key, {"imageDataUrl": data_url(CLEAN)}, **{"content-length": length})
        assert answer.status_code in (400, 413), length


# --- Blocked addresses ---
@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record and refuse every connection attempt and every DNS lookup.

    The database and the image decoders do not use these functions.
    """
    made: list[Any] = []
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, address: made.append(address) or _refuse()
    )
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *args, **options: made.append(args[0]) or _refuse()
    )
    return made


def _refuse() -> None:
    raise OSError("no route")


def test_private_urls_return_identical_400_and_are_not_fetched(
    key: str, connections: list[Any]
) -> None:
    addresses = [line for line in HOSTILE if line.strip()]
    assert len(addresses) > 100

    answers = {
        (a.status_code, a.content)
        for a in (classify(key, {"imageUrl": address}) for address in addresses)
    }

    assert [(status, json.loads(body)) for status, body in answers] == [(400, UNREADABLE)]
    # Some host names need a DNS lookup to be judged, but none is connected to.
    assert [entry for entry in connections if isinstance(entry, tuple)] == []


def test_all_fetch_errors_return_identical_400(
    key: str, image_server: LocalServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    silent = socket.create_server(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in (closed, silent)]
    settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, *(f"127.0.0.1:{port}" for port in ports)]
    causes = {
        "blocked": "http://169.254.169.254/latest/meta-data/",
        "refused": f"http://127.0.0.1:{ports[0]}/",
        "timeout": f"http://127.0.0.1:{ports[1]}/",
        "not found": f"http://{image_server.address}/nothing.png",
        "server error": image_server.put("/500.png", b"", 500),
        "not an image": image_server.put("/page.png", b"<html></html>"),
        "redirect to private": image_server.put("/r1", b"", 302, Location="http://10.0.0.1/a.png"),
        "redirect to another port": image_server.put(
            "/r2", b"", 302, Location="http://127.0.0.1:1/a.png"
        ),
        "redirect to a file": image_server.put("/r3", b"", 302, Location="file:///etc/passwd"),
        "redirect to itself": image_server.put("/r4", b"", 302, Location="/r4"),
        "data URL": "data:image/png;base64,AAAA",
    }
    try:
        bodies = {}
        for name, address in causes.items():
            limit = 0.5 if name == "timeout" else 300.0
            monkeypatch.setattr(instant_classification, "FETCH_SECONDS", limit)
            bodies[name] = classify(key, {"imageUrl": address})
    finally:
        closed.close()
        silent.close()

    assert {(answer.status_code, answer.content) for answer in bodies.values()} == {
        (400, json.dumps(UNREADABLE).encode())
    }
    assert image_server.requested_paths.count("/r4") == 4

"""Invalid bodies and queries for Novita's endpoints, each with the expected status."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from tests.moderation.api.test_novita import body

Case = tuple[str, bytes, int]
OBJECT_VALUE = {"a": 1}
NOT_STRINGS = [0, 1.5, True, False, [], ["x"], OBJECT_VALUE]
NOT_INTEGERS = [
    "512",
    "",
    1.5,
    512.5,
    True,
    False,
    [],
    [1],
    OBJECT_VALUE,
    -1,
    10**30,
    -(10**30),
    1e308,
    2**63,
]
NOT_NUMBERS = ["7.5", "", True, False, [], OBJECT_VALUE, -1, 1e308, 10**400, -1e-300]
NOT_BOOLEANS = [0, 1, "true", "false", "", [], OBJECT_VALUE]
NOT_LISTS = [
    "x",
    0,
    True,
    OBJECT_VALUE,
    [1],
    [None],
    [{}],
    ["x"],
    [[]],
    [{"model_name": 1}],
    [{"model_name": ""}],
]
NOT_OBJECTS = ["x", "", 0, 1, True, False, [], [{}], ["x"]]
LORA, NAME = {"model_name": "x.safetensors", "strength": 1}, {"model_name": "x"}
HIRES = {"target_width": 256, "target_height": 256, "strength": 0.5}

# Invalid values by field. Optional fields accept null and {} as absent, because Novita's SDK sends
# them.
INVALID_VALUES: dict[str, list[Any]] = {
    "request": [*NOT_OBJECTS, None, {}],
    "request.model_name": [*NOT_STRINGS, None, "", "x" * 256, {}],
    "request.prompt": [*NOT_STRINGS, None, "", "x" * 1025, {}],
    "request.negative_prompt": [*NOT_STRINGS, "x" * 1025],
    "request.width": [*NOT_INTEGERS, None, 0, 127, 2049, {}],
    "request.height": [*NOT_INTEGERS, None, 0, 127, 2049, {}],
    "request.image_num": [*NOT_INTEGERS, None, 0, 9],
    "request.steps": [*NOT_INTEGERS, None, 0, 101],
    "request.guidance_scale": [*NOT_NUMBERS, None, 0, 0.99, 30.01],
    "request.sampler_name": [*NOT_STRINGS, None, "", "euler a", "Euler a ", "None"],
    "request.seed": [value for value in NOT_INTEGERS if value != -1] + [-2],
    "request.sd_vae": [*NOT_STRINGS, "x" * 256],
    "request.clip_skip": [*NOT_INTEGERS, 0, 13],
    "request.loras": [
        *NOT_LISTS,
        [LORA] * 6,
        [{**LORA, "strength": 1.1}],
        [{**LORA, "strength": "1"}],
        [NAME],
    ],
    "request.embeddings": [*NOT_LISTS, [NAME] * 6, [{"model_name": "x" * 256}]],
    "request.hires_fix": [
        *NOT_OBJECTS,
        OBJECT_VALUE,
        {**HIRES, "target_width": 4097},
        {**HIRES, "upscaler": "best"},
        {**HIRES, "strength": -0.1},
        {**HIRES, "target_height": "256"},
        {"strength": 0.5},
    ],
    "request.refiner": [
        *NOT_OBJECTS,
        OBJECT_VALUE,
        {"switch_at": "0.5"},
        {"switch_at": 1.1},
        {"switch_at": True},
    ],
    "request.enable_transparent_background": NOT_BOOLEANS,
    "request.restore_faces": NOT_BOOLEANS,
    "extra": NOT_OBJECTS,
    "extra.response_image_type": [*NOT_STRINGS, "", "PNG", "gif", "jpg", "../png"],
    "extra.enable_nsfw_detection": NOT_BOOLEANS,
    "extra.nsfw_detection_level": ["0", 1.5, [], OBJECT_VALUE, -1, 3, 10**30],
    "extra.webhook": [
        *NOT_OBJECTS,
        OBJECT_VALUE,
        {"url": None},
        {"url": ""},
        {"url": 1},
        {"url": ["http://example.com/"]},
    ],
    "extra.custom_storage": [
        *NOT_OBJECTS,
        OBJECT_VALUE,
        {"aws_s3": []},
        {"aws_s3": {"region": "x", "bucket": "y"}},
        {"aws_s3": {"region": "x", "bucket": "y", "path": "z"}},
    ],
    "extra.enterprise_plan": [*NOT_OBJECTS, {"enabled": 1}, {"enabled": "yes"}],
}
STRING_FIELDS = (
    "request.model_name",
    "request.prompt",
    "request.negative_prompt",
    "request.sampler_name",
    "request.sd_vae",
    "extra.response_image_type",
)


def make_body(path: str, value: Any) -> dict[str, Any]:
    """Return a valid body in which the field at ``path`` has the value ``value``."""
    made: dict[str, Any] = {**copy.deepcopy(body()), "extra": {}}
    *parents, last = path.split(".")
    place = made
    for name in parents:
        place = place[name]
    place[last] = value
    return made


def bodies() -> Iterator[Case]:
    yield from _malformed_json()
    for path, values in INVALID_VALUES.items():
        for value in values:
            yield f"{path} is {str(value)[:40]!r}", json.dumps(make_body(path, value)).encode(), 400
    for path in STRING_FIELDS:
        for name, text in {
            "NUL": "a\0b",
            "surrogate": "a\ud800",
            "low surrogate": "\udc00",
            "pair": "\udc00\ud800",
        }.items():
            yield f"{name} in {path}", json.dumps(make_body(path, text)).encode(), 400
    for text in ("a\0b", "\ud800"):
        yield (
            f"{text!r} in a LoRA",
            json.dumps(make_body("request.loras", [{**LORA, "model_name": text}])).encode(),
            400,
        )
        yield (
            f"{text!r} in an embedding",
            json.dumps(make_body("request.embeddings", [{"model_name": text}])).encode(),
            400,
        )
        url = f"https://example.com/{text}"
        yield (
            f"{text!r} in the webhook",
            json.dumps(make_body("extra.webhook", {"url": url})).encode(),
            400,
        )
    yield "NUL in what nobody reads", json.dumps({**body(), "unknown": "\0"}).encode(), 400
    for name in body()["request"]:
        without = {key: value for key, value in body()["request"].items() if key != name}
        if name != "seed":
            yield f"without {name}", json.dumps({"request": without}).encode(), 400
    yield "at the top level", json.dumps(body()["request"]).encode(), 400
    clear = {**body(enable_transparent_background=True), "extra": {"response_image_type": "jpeg"}}
    yield "transparency in a jpeg", json.dumps(clear).encode(), 400


def _malformed_json() -> Iterator[Case]:
    good = json.dumps(body()).encode()
    texts: dict[str, bytes] = {
        "empty": b"",
        "blank": b" \r\n\t",
        "word": b"hello",
        "half": good[:-2],
        "twice": good * 2,
        "comma": good[:-1] + b",}",
        "open objects": b'{"a":' * 50_000,
        "byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "NUL": b"\0" + good,
        "NUL inside": good.replace(b"harbour", b"harb\0ur"),
        "bad UTF-8": good.replace(b"harbour", b"\xff\xfe"),
        "overlong UTF-8": good.replace(b"harbour", b"\xc0\xaf"),
        "raw surrogate": good.replace(b"dawn", b"\xed\xa0\x80"),
        "single quotes": good.replace(b'"', b"'"),
        "comment": b"/* */" + good,
        "form": b"request=x&prompt=y",
        "multipart": (
            b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n{}\r\n--x--\r\n'
        ),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(40),
        "long number": b'{"request": ' + b"9" * 6000 + b"}",
        "long exponent": good.replace(b": 20", b": 1e99999"),
        "NaN": good.replace(b"7.5", b"NaN"),
        "Infinity": good.replace(b"7.5", b"Infinity"),
        "minus Infinity": good.replace(b"7.5", b"-Infinity"),
        "line end in a text": good.replace(b"harbour", b"harb\nour"),
        "bad escape": good.replace(b"harbour", b"\\x41"),
        "half an escape": good.replace(b"harbour", b"\\ud8"),
        "open list": b"[" * 100_000,
        "list of lists": b"[" * 100_000 + b"]" * 100_000,
        "deep": b'{"request": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    }
    for name, raw in texts.items():
        yield f"no JSON: {name}", raw, 400
    # Around the interpreter's recursion limit: a body that was parsed must not fail when it is
    # serialized again.
    for depth in range(840, 1000, 8):
        for begin, inner, end in ((b"[", b"", b"]"), (b'{"a":', b"1", b"}")):
            yield f"{depth} deep", b'{"request":' + begin * depth + inner + end * depth + b"}", 400
    for value in (None, True, 0, -1.5, "x", [], [body()], {}, {"request": None}, {"extra": {}}):
        yield f"JSON {str(value)[:20]}", json.dumps(value).encode(), 400
    yield "many names", json.dumps({f"n{number}": 1 for number in range(50_000)}).encode(), 400
    yield "too large by one", good + b" " * (1024 * 1024 - len(good) + 1), 413
    yield "far too large", json.dumps(body(prompt="x" * 3_000_000)).encode(), 413


Query = tuple[str, dict[str, str], int]
NUMBERS = (
    "0",
    "-1",
    "101",
    "1.5",
    "1e2",
    "x",
    " 5",
    "5 ",
    "٣",
    "9" * 5000,
    "0x10",
    "1_0",
    "+5",
    "\0",
    "null",
    "[]",
)
IDS = (
    "",
    "x",
    "\0",
    "é",
    "0" * 31,
    "0" * 33,
    "0" * 32,
    "g" * 32,
    "00000000-0000-0000-0000-000000000000",
    "9" * 9000,
    "1",
    "{00000000-0000-0000-0000-000000000000}x",
    "' OR 1=1 --",
    "../../etc/passwd",
    "%00",
    "null",
    "undefined",
)


def queries() -> Iterator[Query]:
    """Yield a path, its query parameters and the expected status."""
    for name in IDS:
        yield "/v3/async/task-result", {"task_id": name}, 404
    yield "/v3/async/task-result", {}, 404
    yield "/v3/async/task-result", {"taskId": "x", "task_id[]": "y"}, 404
    for text in NUMBERS:
        yield "/v3/model", {"pagination.limit": text}, 400
        yield "/v1/assets", {"pageSize": text}, 400
    for text in (
        "x",
        "-1",
        "c_-1",
        "c_c_c_1",
        "1.5",
        "c_1_000",
        "٣",
        "c_9999999",
        "9" * 5000,
        "\0",
        "c_\n1",
        "null",
    ):
        yield "/v3/model", {"pagination.cursor": text}, 400
    for text in (
        "x",
        "checkpoint,x",
        "Checkpoint",
        "checkpoint;lora",
        "\0",
        "x" * 9000,
        "é",
        "{}",
        "../lora",
    ):
        yield "/v3/model", {"filter.types": text}, 400
    for name in ("filter.is_sdxl", "filter.is_inpainting"):
        for text in ("1", "0", "yes", "x", "\0", "null", "[]"):
            yield "/v3/model", {name: text}, 400
    yield "/v3/model", {"filter.query": "x" * 201}, 400
    for text in (
        "=",
        "e30=",
        "é",
        "\0",
        "x" * 9000,
        "W10=",
        "bnVsbA==",
        "WzFd",
        "OjpbXQ==",
        "Og==",
        "%00",
        "null",
        "-",
        "_",
    ):
        yield "/v1/assets", {"paginationToken": text}, 400
    for name in ("sortBy", "sortDirection", "privacy", "deleted", "createdAfter", "createdBefore"):
        for text in ("\0", "[]", "{}", "x" * 9000, "'", "٢٠٢٦-٠١-٠١"):
            yield "/v1/assets", {name: text}, 400

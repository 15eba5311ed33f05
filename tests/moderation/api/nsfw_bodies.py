"""Invalid bodies for the classification endpoint, each with the accepted statuses."""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from generation.wire.nanogpt import IMAGE_FIELDS
from tests.moderation.api.calls import CLEAN, data_url

Case = tuple[str, bytes, set[int]]
WRONG_TYPES: list[Any] = [
    0,
    1.5,
    True,
    False,
    {},
    {"url": "x"},
    [1],
    [None],
    [[]],
    [{}],
    [True],
    ["http://x/", 7],
]
EMPTY_VALUES: list[Any] = [None, "", "   ", [], [""], ["", " \n\t"]]
NO_IMAGES: dict[str, bytes | str] = {
    "no picture": b"hello, I am text",
    "empty": b"",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "zip": b"PK\x03\x04" + bytes(60),
    "half a png": CLEAN[: len(CLEAN) // 2],
    "png head alone": CLEAN[:33],
    "gif head alone": b"GIF89a\xff\xff\xff\xff",
    "bmp": b"BM" + bytes(60),
    "tiff": b"II*\x00" + bytes(60),
    "xml bomb": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
}
INVALID_URLS = [
    "x",
    "http",
    "http://",
    "://",
    "//example.com/a.png",
    "ftp://example.com/a.png",
    "file:///etc/passwd",
    "gopher://127.0.0.1/",
    "javascript:alert(1)",
    "about:blank",
    "blob:http://x/1",
    "http://a b/",
    "http://\u0000/",
    "http://例え.テスト/",
    "http://x\r\nHost: y/",
    "\ud800",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://example.com:0/",
    "http://user:secret@example.com/",
    "data:",
    "data:,",
    "data:image/png,abc",
    "data:image/png;base64",
    "data:image/png;base64,",
    "data:image/png;base64,%%%%",
    "data:image/png;base64,QQ=",
    "data:image/png;base64,QUJD\n",
    "data:text/html;base64,QUJD",
    "data:image/svg+xml;utf8,<svg/>",
    "data:application/octet-stream;base64,QUJD",
    "DATA:IMAGE/PNG;BASE64,QUJD",
    "http://" + "a" * 9000 + ".com/",
    "data:image/png;charset=utf-8;base64,QUJD",
    "data:image/../../etc;base64,QUJD",
    "\ufeffhttp://x/",
    "null",
]


def make_decompression_bomb() -> bytes:
    """Return a PNG of 30000 x 30000 pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    head = (30_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(3_000_000)))
    )


def make_elongated_image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8000, 2)).save(file, "PNG")
    return file.getvalue()


def bodies() -> Iterator[Case]:
    yield from _malformed_json()
    for field in IMAGE_FIELDS:
        for value in WRONG_TYPES:
            yield f"{field} is {value!r}", json.dumps({field: value}).encode(), {400}
        for value in EMPTY_VALUES:
            yield f"{field} is {value!r}", json.dumps({field: value}).encode(), {400}
    for address in INVALID_URLS:
        yield f"address {address[:30]!r}", json.dumps({"image_urls": address}).encode(), {400}
    contents = {**NO_IMAGES, "bomb": make_decompression_bomb(), "elongated": make_elongated_image()}
    for name, content in contents.items():
        for media_type in ("image/png", "image/svg+xml"):
            assert isinstance(content, bytes)
            yield (
                f"{name} as {media_type}",
                json.dumps({"imageDataUrl": data_url(content, media_type)}).encode(),
                {400},
            )
    good = data_url(CLEAN)
    for bad in ("http://127.0.0.1/", "data:image/png;base64,AAAA", "nonsense"):
        yield f"mixed with {bad}", json.dumps({"imageDataUrls": [good, bad]}).encode(), {400}
    yield (
        "eleven, one of the ten bad",
        json.dumps({"imageDataUrls": [good] * 9 + ["x"] + [good] * 5}).encode(),
        {400},
    )
    for model in ("", "gpt-4", 1, [], {}, "NSFW-CLASSIFIER"):
        yield f"model {model!r}", json.dumps({"imageDataUrl": good, "model": model}).encode(), {400}


def _malformed_json() -> Iterator[Case]:
    texts: dict[str, bytes] = {
        "empty": b"",
        "blank": b"  \n",
        "word": b"hello",
        "half": b'{"image_urls": ["http',
        "single quotes": b"{'image_urls': 'x'}",
        "trailing comma": b'{"image_urls": ["x"],}',
        "two": b"{}{}",
        "comment": b'{/* */"image_urls": "x"}',
        "NaN": b'{"image_urls": NaN}',
        "Infinity": b'{"image_urls": [-Infinity]}',
        "long number": b'{"image_urls": ' + b"9" * 6000 + b"}",
        "deep": b'{"image_urls": ' + b"[" * 50_000,
        "deep and closed": b'{"image_urls": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        "bad UTF-8": b'{"image_urls": "\xff\xfe"}',
        "latin-1": '{"image_urls": "é"}'.encode("latin-1"),
        "UTF-16": '{"image_urls": "x"}'.encode("utf-16"),
        "byte order mark": b"\xef\xbb\xbf{}",
        "NUL": b'{"image_urls": "http://x/\x00"}',
        "escaped NUL": b'{"image_urls": "http://x/\\u0000"}',
        "NUL alone": b"\x00",
        "lone surrogate": b'{"image_urls": "\\ud800"}',
        "surrogate as a name": b'{"\\udfff": 1}',
        "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
        "form": b"image_urls=http%3A%2F%2Fx%2F",
        "multipart": (
            b'--x\r\nContent-Disposition: form-data; name="image_urls"\r\n\r\nx\r\n--x--\r\n'
        ),
        "base64": base64.b64encode(b"{}"),
    }
    for name, raw in texts.items():
        yield f"no JSON: {name}", raw, {400}
    for value in (
        None,
        True,
        0,
        1.5,
        "x",
        [],
        ["x"],
        [{}],
        {},
        {"images": ["x"]},
        {"image_urls": {}},
    ):
        yield f"JSON {value!r}", json.dumps(value).encode(), {400}
    yield "huge", b'{"imageDataUrl": "' + b"A" * (31 * 1024 * 1024), {413}
    yield "many entries", json.dumps({"image_urls": [""] * 300_000}).encode(), {400}
    yield "many names", json.dumps({f"n{number}": 1 for number in range(100_000)}).encode(), {400}

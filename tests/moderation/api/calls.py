"""What the tests of the gateway call with: keys, pictures, and a server that serves pictures."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from django.http import HttpResponse
from django.test import Client
from PIL import Image

from generation.models import ApiKey
from generation.sandbox import marker


def make_key(*scopes: str, **fields: Any) -> str:
    return ApiKey.make(**{"name": "shop", "scopes": list(scopes), **fields})[1]


def marked(*labels: tuple[str, int], seed: int = 0, image_format: str = "PNG") -> bytes:
    """A picture that the sandbox's classifier can read, and what it will read."""
    noise = np.random.default_rng(seed).integers(60, 190, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((256, 192), Image.Resampling.BICUBIC)
    marker.draw_marker(image, labels)
    file = io.BytesIO()
    image.save(file, image_format)
    return file.getvalue()


CLEAN = marked()
NUDE = marked(("explicit.nudity", 90))


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def classify(key: str, body: Any, *, path: str = "/api/nsfw/image", **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(enforce_csrf_checks=True).post(
        path, raw, content_type="application/json", headers={"x-api-key": key, **headers}
    )


@dataclass(frozen=True)
class Letter:
    """One POST as it came in."""

    path: str
    headers: dict[str, str]  # names in lower case
    content: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.content)


class Shelf:
    """Pictures and troubles behind addresses of this machine; ``asked`` keeps the paths,
    ``letters`` what was posted.

    A POST is answered with the next of ``replies``, then with 200; 0 stands for silence until the
    test is over.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"http://{address}/hook?secret=theirs"
        self.letters: list[Letter] = []
        self.replies: list[int] = []
        self.location = f"http://{address}/elsewhere"  # in the answer to every POST
        self.over = threading.Event()
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []

    def put(self, path: str, content: bytes, status: int = 200, **headers: str) -> str:
        self.answers[path] = (status, headers, content)
        return f"http://{self.address}{path}"


@contextmanager
def shelf() -> Iterator[Shelf]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            found.letters.append(
                Letter(self.path, {k.lower(): v for k, v in self.headers.items()}, content)
            )
            status = found.replies.pop(0) if found.replies else 200
            if not status:
                found.over.wait(10)
                return
            self.send_response(status)
            self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            found.asked.append(self.path)
            status, headers, content = found.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Shelf(f"127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        server.shutdown()
        server.server_close()
        thread.join()

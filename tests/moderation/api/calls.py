"""Helpers for the API tests: API keys, images, and a local HTTP server."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
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


def make_marked_image(*labels: tuple[str, int], seed: int = 0, image_format: str = "PNG") -> bytes:
    """Return an image with a marker that makes the sandbox's classifier return ``labels``."""
    noise = np.random.default_rng(seed).integers(60, 190, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((256, 192), Image.Resampling.BICUBIC)
    marker.draw_marker(image, labels)
    file = io.BytesIO()
    image.save(file, image_format)
    return file.getvalue()


CLEAN = make_marked_image()
NUDE = make_marked_image(("explicit.nudity", 90))


def data_url(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def classify(key: str, body: Any, *, path: str = "/api/nsfw/image", **headers: str) -> HttpResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(enforce_csrf_checks=True).post(
        path, raw, content_type="application/json", headers={"x-api-key": key, **headers}
    )


@dataclass(frozen=True)
class ReceivedPost:
    """A received POST request."""

    path: str
    headers: dict[str, str]  # names in lower case
    content: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.content)


class LocalServer:
    """State of a local HTTP server that serves images and receives webhooks.

    ``requested_paths`` lists those of GET requests, ``posts`` the received POST requests. A POST is
    answered with the next status of ``replies``, and with 200 when ``replies`` is empty. Status 0
    sends no response until ``over`` is set. ``gave_up``: it was not set within a minute.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"http://{address}/hook?secret=theirs"
        self.posts: list[ReceivedPost] = []
        self.replies: list[int] = []
        self.location = f"http://{address}/elsewhere"  # in the answer to every POST
        self.over = threading.Event()
        self.gave_up = False
        self.on_post: Callable[[], None] = lambda: None
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requested_paths: list[str] = []

    def put(self, path: str, content: bytes, status: int = 200, **headers: str) -> str:
        self.answers[path] = (status, headers, content)
        return f"http://{self.address}{path}"


@contextmanager
def run_local_server() -> Iterator[LocalServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append(
                ReceivedPost(self.path, {k.lower(): v for k, v in self.headers.items()}, content)
            )
            found.on_post()
            status = found.replies.pop(0) if found.replies else 200
            if not status:
                found.gave_up |= not found.over.wait(60)
                return
            self.send_response(status)
            self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            found.requested_paths.append(self.path)
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
    found = LocalServer(f"127.0.0.1:{server.server_address[1]}")
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

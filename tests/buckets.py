"""A bucket for tests: its settings, and a proxy in front of its server that fails."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from config.asset_storage import build_bucket, build_entry
from generation.core.bucket import BucketStorage
from tests.moto import BUCKET, KEY, SECRET, Moto, connect
from tests.stored import use_storage

__all__ = ["BUCKET", "KEY", "SECRET", "Moto", "connect"]  # of the server, for every test of buckets
# Answers of a failing storage: status and code.
ANSWERS = {
    "busy": ("503 Service Unavailable", "ServiceUnavailable"),
    "throttled": ("503 Slow Down", "SlowDown"),
    "refused": ("403 Forbidden", "AccessDenied"),
    "expired": ("400 Bad Request", "ExpiredToken"),
    "damaged": ("400 Bad Request", "BadDigest"),
    "full": ("507 Insufficient Storage", "XMinioStorageFull"),
    "no-bucket": ("404 Not Found", "NoSuchBucket"),
}


def variables(url: str, **changed: str) -> dict[str, str]:
    """Return the variables of an operator who keeps images in this storage."""
    return {
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT_URL": url,
        "S3_ACCESS_KEY_ID": KEY,
        "S3_SECRET_ACCESS_KEY": SECRET,
        "S3_PREFIX": f"run-{uuid4().hex}",
        **changed,
    }


EMPTY = dict.fromkeys(
    (
        "S3_BUCKET",
        "S3_ENDPOINT_URL",
        "S3_PUBLIC_ENDPOINT_URL",
        "S3_REGION",
        "S3_ACCESS_KEY_ID",
        "S3_SECRET_ACCESS_KEY",
        "S3_SESSION_TOKEN",
        "S3_PREFIX",
        "S3_ADDRESSING_STYLE",
        "S3_ENCRYPTION",
        "S3_KMS_KEY_ID",
        "S3_MOVE",
    ),
    "",
)


def options(url: str, **changed: str) -> dict[str, Any]:
    found = build_bucket({**EMPTY, **variables(url, **changed)})
    assert found is not None
    return found


def make_storage(url: str, **changed: str) -> BucketStorage:
    return BucketStorage(**options(url, **changed))


def use_bucket(
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    url: str,
    *,
    folder: Path | None = None,
    move: str | None = None,
    **changed: str,
) -> None:
    """Let the application keep its images in this storage."""
    folder = folder or Path(settings.DATA_DIR) / "assets"
    entry = build_entry(folder=folder, bucket=options(url, **changed), move=move)
    use_storage(monkeypatch, settings, entry)


class FaultyProxy:
    """A proxy in front of a server that passes connections on, or fails as ``fault`` says."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self.fault = ""  # "", "hang", "reset" or one of ANSWERS
        self.requests = 0
        self._open: set[socket.socket] = set()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._handle(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._cut()

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Fail all connections, those that are open too."""
        self.fault = fault
        self._cut()
        try:
            yield
        finally:
            self.fault = ""
            self._cut()

    def _cut(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _handle(self, client: socket.socket) -> None:
        self._open.add(client)
        self.requests += 1
        try:
            if self.fault in ANSWERS:
                _answer(client, *ANSWERS[self.fault])
            elif self.fault == "hang":
                while client.recv(65536):
                    pass
            elif not self.fault:
                self._pass_on(client)
        except OSError:
            pass
        finally:
            self._open.discard(client)

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(self.target) as server:
            self._open.add(server)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            self._open.discard(server)


def _answer(client: socket.socket, status: str, code: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>for a test</Message></Error>"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    client.recv(65536)
    client.sendall((head + body).encode())
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):  # the rest of the request
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

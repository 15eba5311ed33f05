"""The guarded fetch against a hostile server on a real socket."""

from __future__ import annotations

import contextlib
import gzip
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from generation import fetching
from generation.fetching import BlockedAddressError, FetchError, fetch, transport

OK_LINE = b"HTTP/1.1 200 OK\r\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)

Script = Callable[[socket.socket, bytes], None]


class Server:
    """A server that calls ``script(connection, request head)`` and stores the request heads."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.script: Script = lambda connection, head: None
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                head = b""
                while b"\r\n\r\n" not in head and (piece := self.request.recv(65536)):
                    head += piece
                outer.heads.append(head)
                with contextlib.suppress(OSError):  # the client closed the connection, as expected
                    outer.script(self.request, head)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        self.endpoint = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.endpoint}/picture.png?X-Amz-Signature=canary"

    def says(self, *pieces: bytes) -> None:
        self.script = lambda connection, head: connection.sendall(b"".join(pieces))

    def fetch(self, **options: Any) -> fetching.Fetched:
        return fetch(self.url, **{"allow": [self.endpoint], "deadline": 120.0, **options})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def ok(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join(
        [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body]
    )


def test_allowed_endpoint_is_fetched_without_credentials(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.says(ok(PNG, b"Content-Type: Image/PNG; charset=x"))
    with caplog.at_level(logging.DEBUG):
        fetched = server.fetch()
    assert fetched == fetching.Fetched(PNG, "image/png", f"http://{server.endpoint}/picture.png")
    head = server.heads[0].decode().lower()
    assert head.startswith("get /picture.png?x-amz-signature=canary http/1.1\r\n")
    assert f"host: {server.endpoint}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head
    assert "canary" not in caplog.text


def test_only_the_exact_endpoint_is_allowed(server: Server) -> None:
    host, port = server.endpoint.split(":")
    for allow in ([], [f"localhost:{port}"], [f"{host}:{int(port) + 1}"], [host], [f"{host}:80"]):
        with pytest.raises(BlockedAddressError):
            server.fetch(allow=allow)
    assert server.heads == []


def test_proxies_of_the_environment_are_ignored(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.says(ok(PNG))
    assert server.fetch().content == PNG


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/",
        "http://169.254.169.254/",
        "http://localhost/",
        "file:///etc/passwd",
        "//10.0.0.1/x",
        "gopher://example.com/",
        "http://example.com:22/",
        "http://[::1]/",
        "http://user@example.com/",
        "/a\tb",
        "/ä",
        "",
        "http://[",
        "\\\\127.0.0.1\\",
    ],
)
def test_redirect_to_a_blocked_url_is_refused(location: str, server: Server) -> None:
    server.says(
        b"HTTP/1.1 302 Found\r\nLocation: "
        + location.encode("latin-1")
        + b"\r\nContent-Length: 0\r\n\r\n"
    )
    with pytest.raises(BlockedAddressError):
        server.fetch()
    assert len(server.heads) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_up_to_a_limit(status: int, server: Server) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        hops = len(server.heads)
        go = b"HTTP/1.1 %d Go\r\nLocation: /hop%d?k=%d\r\nContent-Length: 0\r\n\r\n" % (
            status,
            hops,
            hops,
        )
        connection.sendall(ok(PNG) if hops == 4 else go)

    server.script = script
    assert server.fetch().content == PNG
    assert server.heads[-1].startswith(b"GET /hop3?k=3 ")
    assert b"canary" not in b"".join(server.heads[1:])
    server.heads.clear()
    with pytest.raises(FetchError, match="redirects more than 2"):
        server.fetch(max_redirects=2)
    assert len(server.heads) == 3


def test_cookies_are_not_sent_after_a_redirect(server: Server) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        first = b"GET /picture" in head
        go = b"HTTP/1.1 302 Go\r\nLocation: /x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(go if first else ok(PNG))

    server.script = script
    server.fetch()
    assert b"cookie" not in server.heads[1].lower()


def test_redirect_from_https_to_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    redirect = fetching.Answer(302, b"", "", "https://example.com/")
    monkeypatch.setattr(fetching, "_send_once", lambda *args: (redirect, "http://example.com/a"))
    with pytest.raises(BlockedAddressError, match="from https to http"):
        fetch("https://example.com/")


@pytest.mark.parametrize(
    ("status", "retryable", "expired"),
    [
        (403, False, True),
        (410, False, True),
        (404, False, False),
        (401, False, False),
        (204, False, False),
        (206, False, False),
        (304, False, False),
        (429, True, False),
        (500, True, False),
        (503, True, False),
    ],
)
def test_http_status_decides_whether_a_fetch_is_retryable_or_expired(
    status: int, retryable: bool, expired: bool, server: Server
) -> None:
    length = b"" if status in {204, 304} else b"Content-Length: 2\r\n"
    server.says(b"HTTP/1.1 %d X\r\n%b\r\nno" % (status, length))
    with pytest.raises(FetchError) as caught:
        server.fetch()
    assert (caught.value.retryable, caught.value.expired) == (retryable, expired)
    assert "canary" not in str(caught.value)


def drip(connection: socket.socket, piece: bytes, over: threading.Event) -> None:
    for _ in range(1200):
        connection.sendall(piece)
        time.sleep(0.05)
    over.set()


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["status line", "headers", "body", "body without length"],
)
def test_slow_response_ends_at_the_deadline(before: bytes, server: Server) -> None:
    over = threading.Event()

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(before)
        drip(connection, b"H", over)

    server.script = script
    with pytest.raises(FetchError) as caught:
        server.fetch(deadline=0.4)
    assert caught.value.retryable
    assert not over.is_set(), "it read for a minute"


def test_a_redirect_does_not_renew_the_deadline(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def script(connection: socket.socket, head: bytes) -> None:
        clock[0] += 40
        if len(server.heads) == 1:
            connection.sendall(b"HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        connection.settimeout(2)
        with contextlib.suppress(TimeoutError):
            if connection.recv(1) == b"":
                return  # the client closed the connection, as expected
        connection.sendall(b"Content-Length: 2\r\n\r\nhi")

    server.script = script
    with pytest.raises(FetchError, match="in time"):
        server.fetch(deadline=60.0)
    assert len(server.heads) == 2


@pytest.mark.parametrize(
    "head", [b"Content-Length: 99999999", b"Transfer-Encoding: chunked", b"X: y"]
)
def test_endless_body_is_stopped_at_the_size_limit(head: bytes, server: Server) -> None:
    sent = 0

    def script(connection: socket.socket, request: bytes) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        piece = b"x" * 65536
        while True:
            connection.sendall(
                b"%x\r\n%b\r\n" % (len(piece), piece) if b"chunked" in head else piece
            )
            sent += len(piece)

    server.script = script
    with pytest.raises(FetchError, match="larger than 1 MiB") as caught:
        server.fetch(max_bytes=1024 * 1024)
    assert not caught.value.retryable
    assert sent < 16 * 1024 * 1024


def test_body_of_exactly_the_size_limit_is_accepted(server: Server) -> None:
    server.says(ok(b"x" * 1000))
    assert len(server.fetch(max_bytes=1000).content) == 1000
    with pytest.raises(FetchError):
        server.fetch(max_bytes=999)


@pytest.mark.parametrize(
    "encoding", [b"gzip", b"br", b"deflate", b"GZIP", b"gzip, identity", b"zstd"]
)
def test_compressed_response_is_refused(encoding: bytes, server: Server) -> None:
    server.says(ok(gzip.compress(bytes(1000)), b"Content-Encoding: " + encoding))
    with pytest.raises(FetchError, match="compresses") as caught:
        server.fetch()
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage\r\n\r\n",
        OK_LINE + b"Content-Length: 50\r\n\r\nshort",
        OK_LINE + b"Content-Length: -1\r\n\r\n",
        OK_LINE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        OK_LINE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK_LINE + b"X: " + b"a" * 300_000 + b"\r\n\r\n",
        OK_LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK_LINE + b"Content-Length: \xb2\r\n\r\nx",
        b"\x16\x03\x01",
        b"HTTP/1.1 999999 X\r\n\r\n",
    ],
    ids=lambda raw: ascii(raw[:50]),
)
def test_invalid_response_raises_fetch_error(raw: bytes, server: Server) -> None:
    server.says(raw)
    with pytest.raises(FetchError) as caught:
        server.fetch()
    assert "canary" not in repr(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_reset_connection_is_retryable(server: Server) -> None:
    def script(connection: socket.socket, head: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()

    server.script = script
    with pytest.raises(FetchError) as caught:
        server.fetch()
    assert caught.value.retryable


def test_plain_http_response_to_a_tls_handshake_raises_fetch_error(server: Server) -> None:
    server.says(b"HTTP/1.1 400 Bad\r\n\r\n")
    with pytest.raises(FetchError):
        fetch(server.url.replace("http:", "https:"), allow=[server.endpoint], deadline=0.3)


def test_send_posts_a_body_and_returns_any_status(server: Server) -> None:
    got = b""

    def script(connection: socket.socket, head: bytes) -> None:
        nonlocal got
        got = head.split(b"\r\n\r\n", 1)[1]
        while len(got) < 200_000:
            got += connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
        )

    server.script = script
    result = fetching.send(
        "POST",
        server.url,
        content=b"x" * 200_000,
        headers={"Content-Type": "application/json"},
        allow=[server.endpoint],
    )
    assert result.status == 302
    assert got == b"x" * 200_000
    assert b"content-type: application/json" in server.heads[0].lower()

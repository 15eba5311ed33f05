"""The documented web server behind the shipped nginx configuration."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.deploy.servers import HOST, Loupe, Nginx

pytestmark = pytest.mark.slow
SLOW_CLIENTS = 500
PER_ADDRESS = 20  # below the proxy's limits
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def loupe() -> Iterator[Loupe]:
    with Loupe() as server:
        yield server


@pytest.fixture(scope="module")
def nginx(loupe: Loupe) -> Iterator[Nginx]:
    with Nginx(loupe.port) as proxy:
        yield proxy


def browser(nginx: Nginx, address: str = "127.0.0.1") -> httpx.Client:
    """Return an HTTP client that connects from this loopback address."""
    transport = httpx.HTTPTransport(verify=False, local_address=address)
    headers = {"Host": HOST, "Origin": f"https://{HOST}"}
    return httpx.Client(
        transport=transport, base_url=f"https://127.0.0.1:{nginx.port}", headers=headers, timeout=60
    )


def log_in(client: httpx.Client, name: str, password: str) -> httpx.Response:
    page = client.get("/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token is not None
    form = {"username": name, "password": password, "csrfmiddlewaretoken": token[1]}
    cookies = {cookie.name: cookie.value or "" for cookie in client.cookies.jar}
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return client.post("/login/", data=form, headers={"Cookie": cookie})


def test_pages_are_served_over_https_without_a_redirect_loop(nginx: Nginx) -> None:
    with browser(nginx) as client:
        page = client.get("/login/")
        assert (page.status_code, page.headers["Strict-Transport-Security"]) == (
            200,
            "max-age=31536000",
        )
        stylesheet = re.search(r'href="(/static/css/[^"]+)"', page.text)
        assert stylesheet is not None
        assert client.get(stylesheet[1]).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_probes_answer_without_the_proxy(loupe: Loupe) -> None:
    for path in ("/healthz", "/readyz"):
        assert (
            httpx.get(
                f"http://127.0.0.1:{loupe.port}{path}", headers={"Host": "10.1.2.3"}
            ).status_code
            == 200
        )


@pytest.mark.parametrize(("size", "status"), [(29 * MIB, 401), (31 * MIB, 413)])
def test_proxy_accepts_bodies_up_to_loupes_own_limit(nginx: Nginx, size: int, status: int) -> None:
    with browser(nginx) as client:
        answer = client.post("/api/nsfw/image", content=b"x" * size, headers={"x-api-key": "wrong"})

    assert answer.status_code == status


def test_wrong_passwords_lock_out_one_address_behind_the_proxy(nginx: Nginx) -> None:
    with browser(nginx, "127.0.0.2") as stranger, browser(nginx, "127.0.0.3") as other:
        stranger.headers["X-Forwarded-For"] = "203.0.113.7"  # forged; the proxy replaces it
        answers = [log_in(stranger, "ada", "wrong").status_code for _ in range(5)]

        assert answers == [200, 200, 200, 200, 429]
        assert log_in(other, "ada", "wrong").status_code == 200


def slow_client(port: int, number: int) -> ssl.SSLSocket:
    """Send a request's headers and one byte of its body.

    PER_ADDRESS clients share one address.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    source = (f"127.0.1.{1 + number // PER_ADDRESS}", 0)
    plain = socket.create_connection(("127.0.0.1", port), source_address=source, timeout=60)
    client = context.wrap_socket(plain, server_hostname=HOST)
    path = "/login/" if number % 2 else "/webhooks/novita/x"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie:"
        f" __Host-csrftoken={'a' * 32}\r\nContent-Length: 1000\r\n\r\n"
    )
    client.sendall(head.encode() + b"x")
    return client


def is_held(client: ssl.SSLSocket) -> bool:
    """Return True if the server has neither responded nor closed the connection."""
    client.setblocking(False)
    try:
        client.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    return False


def test_500_slow_bodies_do_not_stop_the_server(nginx: Nginx, loupe: Loupe) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(slow_client(nginx.port, number)) for number in range(SLOW_CLIENTS)
        ]
        for client in clients:
            client.sendall(b"x")  # restarts the proxy's read timeout
        direct = f"http://127.0.0.1:{loupe.port}/healthz"

        for _ in range(5):
            assert httpx.get(direct, timeout=5).status_code == 200
        with browser(nginx) as somebody:
            somebody.timeout = 5
            assert somebody.get("/healthz").status_code == 200
            assert somebody.get("/login/").status_code == 200

        held = sum(is_held(client) for client in clients)
        assert held > 16 * 4, "far more than there are threads were held while the server was asked"


def test_shipped_nginx_configuration_starts_with_only_marked_lines_changed(nginx: Nginx) -> None:
    text = (Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf").read_text()

    assert "proxy_request_buffering on;" in text
    assert len(re.findall("# CHANGE$", text, re.MULTILINE)) == 5

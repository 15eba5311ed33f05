"""A simulated person at the desk: logs in, keeps cookies, sends what the page's script sends."""

from __future__ import annotations

import http.client
import io
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from generation.core.uuid7 import make_uuid7

PASSWORD = "only for the benchmark"
FORM = "application/x-www-form-urlencoded"
Headers = list[tuple[str, str]]
# Typical decisions: most images are fine, some are not, a few go to a senior moderator.
VERDICTS = ["approve"] * 7 + ["reject"] * 2 + ["escalate"]
DECK = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response with its cost."""

    status: int
    headers: Headers
    body: bytes
    cpu: float = 0.0  # seconds of this process; only known if the server is this process
    wall: float = 0.0

    @property
    def text(self) -> str:
        return self.body.decode()


class Transport(Protocol):
    """A way to send a request."""

    def __call__(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer: ...


class InProcess:
    """A transport that calls the WSGI application, so that the process's CPU time is the cost."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self.app = app

    def __call__(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        path, _, query = path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": FORM,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
        }
        got: list[Any] = []
        cpu, wall = time.process_time(), time.perf_counter()
        parts = self.app(environ, lambda status, sent, error=None: got.append((status, sent)))
        content = b"".join(parts)
        if hasattr(parts, "close"):
            parts.close()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        status, sent = got[-1]
        return Answer(status=int(status[:3]), headers=sent, body=content, cpu=cpu, wall=wall)


class OverHttp:
    """A transport with one persistent connection, as in a browser."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __call__(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        started = time.perf_counter()
        self.connection.request(method, path, body or None, {**headers, "Content-Type": FORM})
        response = self.connection.getresponse()
        content = response.read()
        wall = time.perf_counter() - started
        return Answer(
            status=response.status, headers=response.getheaders(), body=content, wall=wall
        )


@dataclass
class Person:
    """A simulated person with cookies and a deck."""

    name: str
    send: Transport
    cookies: dict[str, str] = field(default_factory=dict)
    deck: list[str] = field(default_factory=list)  # review IDs in display order
    seen: list[str] = field(default_factory=list)  # all reviews ever dealt to this person
    decided: int = 0

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, b"", {})

    def post(self, path: str, fields: dict[str, str]) -> Answer:
        token = self.cookies.get("csrftoken", "")
        return self._ask("POST", path, urlencode(fields).encode(), {"X-CSRFToken": token})

    def log_in(self) -> None:
        self.get("/login/")
        answer = self.post("/login/", {"username": self.name, "password": PASSWORD})
        if answer.status != 302:
            raise RuntimeError(f"{self.name} could not log in: {answer.status}")

    def sit_down(
        self, queue: str = "waiting", want: int = DECK, *, takes_held: bool = False
    ) -> Answer:
        """Fill the deck, as the script does when the desk opens.

        ``takes_held``: also with images that an earlier page of this person claimed.
        """
        slug, _, query = queue.partition("?")
        fields = {"deck": "1", "want": str(want), "queue": queue}
        if takes_held:
            fields["held"] = "1"
        return self._take(self.post(f"/queues/{slug}/deck/?{query}", fields))

    def decide(self, queue: str = "waiting") -> Answer:
        """Decide the first image of the deck; the response contains one more for its end."""
        review, verdict = self.deck.pop(0), VERDICTS[self.decided % len(VERDICTS)]
        self.decided += 1
        fields = {
            "verdict": verdict,
            "deck": "1",
            "want": "1",
            "queue": queue,
            "seconds": "1.4",
            "decision": str(make_uuid7()),
            "note": "Is this a costume?" if verdict == "escalate" else "",
            **({"categories": "explicit.nudity"} if verdict == "reject" else {}),
        }
        return self._take(self.post(f"/reviews/{review}/decisions/", fields))

    def _take(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise RuntimeError(f"{self.name} was answered {answer.status}: {answer.text[:300]}")
        fresh = re.findall(r'data-panel data-review="([0-9a-f-]{36})"', answer.text)
        self.deck += fresh
        self.seen += fresh
        return answer

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        # Without a referrer, which is not checked over plain http.
        sent = {**headers, "Host": "127.0.0.1", "Cookie": cookie, "Accept-Encoding": "identity"}
        answer = self.send(method, path, body, sent)
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key.strip()] = rest.partition(";")[0]
        return answer

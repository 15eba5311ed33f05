"""HTTP client for the providers' APIs, with one error mapping. The only user of httpx here.

Submissions and model lists are synchronous calls. Polling is asynchronous over aiohttp's transport,
because plain ``httpx.AsyncClient`` slows down with the square of its connections. Image and webhook
URLs are not fetched here: they are untrusted and need the guard in ``generation.fetching``.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient
from pydantic import BaseModel, ValidationError

from generation.core.tracing import start_span
from generation.providers import errors
from generation.providers.base import (
    InvalidAnswerError,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    TaskNotFoundError,
    UnansweredError,
)
from generation.wire.secrets import redact
from generation.wire.task import ErrorReply

RAW_ANSWER_MAX = 4096  # characters of a raw response passed to ``on_answer``
BODY_MAX = 4 * 1024 * 1024  # bytes; a page of 100 models has about 200 KB
KEY_MIN = 8  # characters; shorter keys are not secret and could match parts of words
CONCURRENCY = 100  # concurrent polls
# Seconds. A submission may be slow; a slow poll is simply retried. Shorter than the lease of a job
# slot, so that a silent provider never makes a worker look dead.
SUBMIT_TIMEOUT, SUBMIT_TOTAL = httpx.Timeout(30, connect=10), 45.0
READ_TIMEOUT, READ_TOTAL = httpx.Timeout(15, connect=10), 30.0

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_INVALID_URL = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)
_T = TypeVar("_T")
_Reply = TypeVar("_Reply", bound=BaseModel)


class Call(Enum):
    """The kind of a call, which decides the meaning of an error."""

    SUBMIT = "submit"  # a repetition costs twice
    READ = "read"  # may be repeated


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """Parse the body.

        Raises ValueError, also for values that JSON parsers accept and databases refuse (NaN, NUL).
        """
        if b"\\u0000" in self.body:
            raise ValueError("The answer contains NUL characters.")
        try:
            return json.loads(self.body, parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("The answer is nested too deeply.") from None


class HttpProvider:
    """A client for the API at one base URL.

    An HTTP client lives for one call, so instances are safe across threads and forks and need no
    closing.
    """

    def __init__(
        self, *, slug: str, label: str, base_url: str, secret: str, headers: Mapping[str, str]
    ) -> None:
        self.slug = slug
        self.label = label
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a compressed response could expand to any size
            "User-Agent": "loupe",
            **headers,
        }
        self._transport: httpx.BaseTransport | None = None
        self._async_transport: httpx.AsyncBaseTransport | None = None

    def use_transport(self, transport: httpx.MockTransport) -> None:
        """Replace the HTTP transport, for tests of responses that no real server gives."""
        self._transport = self._async_transport = transport

    # --- Synchronous calls ---
    def post(self, path: str, body: object, *, on_answer: Callable[[str], None]) -> Answer:
        """Submit with POST.

        ``on_answer`` receives the start of the response, even if the connection broke. Raises
        ProviderError.
        """
        answer = self._send(Call.SUBMIT, "POST", path, json_body=body, on_answer=on_answer)
        self._raise_for_status(answer, Call.SUBMIT)
        return answer

    def get(self, path: str, params: Mapping[str, str]) -> Answer:
        """Read with GET; may be repeated.

        Raises ProviderError.
        """
        answer = self._send(Call.READ, "GET", path, params=params)
        self._raise_for_status(answer, Call.READ)
        return answer

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a POST that may be repeated, with a JSON body or with these bytes.

        Uses the timeout of a submission, because a judgement of an image takes long. Raises
        ProviderError: a 5xx is ServerFailedError, a missing response UnansweredError.
        """
        try:
            answer = self._send(
                Call.SUBMIT, "POST", path, json_body=body, content=content, headers=headers
            )
        except OutcomeUnknownError:
            raise UnansweredError(f"{self.label} did not answer in time, or broke off.") from None
        try:
            self._raise_for_status(answer, Call.READ)
        except ProviderBusyError as error:
            if answer.status >= 500 and answer.status != 503 and not error.limited:
                raise ServerFailedError(
                    str(error), reason=error.reason, retry_after=error.retry_after
                ) from None
            raise
        return answer

    def _send(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        json_body: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        on_answer: Callable[[str], None] | None = None,
    ) -> Answer:
        with self._trace(method) as span:
            answer = self._exchange(
                call, method, path, json_body, content, headers, params, on_answer
            )
            _note_status(span, answer)
            return answer

    def _exchange(
        self,
        call: Call,
        method: str,
        path: str,
        json_body: object,
        content: bytes | None,
        headers: Mapping[str, str] | None,
        params: Mapping[str, str] | None,
        on_answer: Callable[[str], None] | None,
    ) -> Answer:
        timeout, total = (
            (SUBMIT_TIMEOUT, SUBMIT_TOTAL) if call is Call.SUBMIT else (READ_TIMEOUT, READ_TOTAL)
        )
        deadline = time.monotonic() + total
        received = bytearray()
        try:
            with (
                self._client(timeout) as client,
                client.stream(
                    method,
                    self._base_url + path,
                    json=json_body,
                    content=content,
                    headers=headers,
                    params=params,
                ) as response,
            ):
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > BODY_MAX or time.monotonic() > deadline:
                        raise httpx.ReadError("The answer is too long or too slow.")
            return self._answer(response, received)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self._convert_error(error, call) from None
        finally:
            if on_answer is not None and received:
                start = received[: 4 * RAW_ANSWER_MAX].decode(errors="replace").replace("\0", "")
                on_answer(self._redact(start)[:RAW_ANSWER_MAX])

    def _trace(self, method: str) -> AbstractContextManager[Any]:
        """Open a span for a call, which names the provider and never the URL."""
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "loupe.provider": self.slug,
        }
        return start_span(f"{method} {self.slug}", **attributes)

    def _client(self, timeout: httpx.Timeout) -> httpx.Client:
        return httpx.Client(
            headers=self._headers,
            timeout=timeout,
            follow_redirects=False,  # a redirect would send the key to another host
            trust_env=False,  # ignore proxy variables and .netrc of the machine
            verify=_tls_context(),
            transport=self._transport,
        )

    def parse(self, answer: Answer, model: type[_Reply]) -> _Reply:
        """Return the body of a 200 response. Raises InvalidAnswerError."""
        try:
            return model.model_validate(answer.json())
        except ValidationError as error:
            fields = ", ".join(
                sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
            )
            about = f" ({self._redact(fields)[:100]})" if fields else ""
            raise InvalidAnswerError(
                f"{self.label} answered, but not in a way that can be read{about}."
            ) from None
        except ValueError:
            raise InvalidAnswerError(f"{self.label} answered, but not in JSON.") from None

    # --- Asynchronous reads ---
    @asynccontextmanager
    async def session(self) -> AsyncIterator[httpx.AsyncClient]:
        """Open a client for many concurrent reads in one event loop."""
        async with HttpxAiohttpClient(
            headers=self._headers,
            timeout=READ_TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            verify=_tls_context(),
            limits=httpx.Limits(max_connections=CONCURRENCY, keepalive_expiry=60),
            transport=self._async_transport,
        ) as client:
            yield client

    async def read(self, client: httpx.AsyncClient, path: str, params: Mapping[str, str]) -> Answer:
        """Read once with GET.

        Raises ProviderError.
        """
        with self._trace("GET") as span:
            answer = await self._receive(client, path, params)
            _note_status(span, answer)
        self._raise_for_status(answer, Call.READ)
        return answer

    async def _receive(
        self, client: httpx.AsyncClient, path: str, params: Mapping[str, str]
    ) -> Answer:
        received = bytearray()
        try:
            async with (
                asyncio.timeout(READ_TOTAL),
                client.stream("GET", self._base_url + path, params=params) as response,
            ):
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > BODY_MAX:
                        raise httpx.ReadError("The answer is too long.")
        # The transport passes some of aiohttp's own errors on; TimeoutError is an OSError.
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
            raise self._convert_error(error, Call.READ) from None
        return self._answer(response, received)

    def _answer(self, response: httpx.Response, body: bytearray) -> Answer:
        """Build the response without our key, which a provider may quote anywhere."""
        secret = self._secret.encode()
        redacted = body.replace(secret, b"[key]") if len(secret) >= KEY_MIN else body
        return Answer(response.status_code, dict(response.headers), bytes(redacted))

    # --- Errors ---
    def _convert_error(self, error: Exception, call: Call) -> ProviderError:
        """Convert a missing or incomplete response to a ProviderError."""
        name = type(error).__name__
        if isinstance(error, _INVALID_URL):
            return ProviderMisconfiguredError(
                f"The URL of {self.label} in the settings cannot be used ({name})."
            )
        if isinstance(error, _NOT_SENT):
            return ProviderBusyError(f"{self.label} could not be reached ({name}).")
        if call is Call.READ:
            return ProviderBusyError(f"{self.label} did not answer in time or broke off ({name}).")
        return OutcomeUnknownError(
            f"The request was sent to {self.label}, but no complete answer came back ({name}). It"
            " may be running there."
        )

    def _raise_for_status(self, answer: Answer, call: Call) -> None:
        """Raise the ProviderError that an error response stands for."""
        if 200 <= answer.status < 300:
            return
        reply = self._error_reply(answer)
        kind = self._get_error_type(answer, reply.reason, call)
        raw_message = self._redact(" ".join(reply.message.split()))[:300]
        message = errors.describe_error(
            kind,
            label=self.label,
            status=answer.status,
            reason=reply.reason,
            raw_message=raw_message,
        )
        if kind is ProviderBusyError:
            wait = _parse_retry_after(answer.headers.get("retry-after", ""))
            limited = answer.status == 429 or reply.reason in errors.LIMITING
            raise ProviderBusyError(message, reason=reply.reason, retry_after=wait, limited=limited)
        raise kind(message, reason=reply.reason)

    def _get_error_type(self, answer: Answer, reason: str, call: Call) -> type[ProviderError]:
        """Return the exception type for an error response."""
        status = answer.status
        if status >= 500:
            refused = status == 503 and "retry-after" in answer.headers
            return ProviderBusyError if refused or call is Call.READ else OutcomeUnknownError
        if status < 400:  # a redirect: the base URL is wrong
            return ProviderMisconfiguredError
        kind = errors.BY_REASON.get(reason) or errors.BY_STATUS.get(status) or ProviderRejectedError
        return ProviderRejectedError if kind is TaskNotFoundError and call is Call.SUBMIT else kind

    def _error_reply(self, answer: Answer) -> ErrorReply:
        try:
            reply = ErrorReply.model_validate(answer.json())
        except ValueError:
            return ErrorReply()
        return reply.model_copy(update={"reason": self._redact(reply.reason)[:80]})

    def _redact(self, text: str) -> str:
        """Remove the key and the signatures of URLs from a text."""
        return redact(text.replace(self._secret, "[key]") if len(self._secret) >= KEY_MIN else text)


def _note_status(span: Any, answer: Answer) -> None:
    if span is not None:
        span.set_attribute("http.response.status_code", answer.status)


async def call_each(
    items: Iterable[str], ask: Callable[[str], Awaitable[_T]], *, limit: int = CONCURRENCY
) -> AsyncIterator[tuple[str, _T | ProviderError]]:
    """Call ``ask`` for every item, at most ``limit`` concurrently.

    Yields each item with its result or its ProviderError on arrival.
    """
    todo = iter(items)
    finished: asyncio.Queue[tuple[str, _T | ProviderError] | None] = asyncio.Queue()

    async def worker() -> None:
        try:
            for item in todo:
                try:
                    finished.put_nowait((item, await ask(item)))
                except ProviderError as error:
                    finished.put_nowait((item, error))
        finally:
            finished.put_nowait(None)

    workers = [asyncio.create_task(worker()) for _ in range(limit)]
    try:
        left = len(workers)
        while left:
            pair = await finished.get()
            if pair is None:
                left -= 1
            else:
                yield pair
        await asyncio.gather(*workers)  # re-raise a programming error in ``ask``
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


@cache
def _tls_context() -> ssl.SSLContext:
    # Loading the certificates takes 20 ms, so the context is cached.
    return httpx.create_ssl_context(trust_env=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


def _parse_retry_after(value: str) -> float | None:
    """Parse a Retry-After header (seconds or date) to seconds; None if absent or invalid."""
    if value.isascii() and value.isdigit():
        return float(min(int(value[:9]), 86_400))
    try:
        timestamp = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=UTC)
    return min(max((timestamp - datetime.now(UTC)).total_seconds(), 0.0), 86_400.0)

"""Guarded HTTP for untrusted URLs: images, webhook calls, and the files of models.

``policy`` checks the URL text, ``transport`` checks the resolved IP addresses. Every redirect
passes both checks again. No cookies, no credentials, no proxy from the environment, no compression,
no kept-alive connections. Nothing here logs, and no message contains a query string, because query
strings contain signatures.
"""

from __future__ import annotations

import functools
import re
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urljoin

import httpcore

from generation.fetching.policy import BlockedAddressError, Target, check_url
from generation.fetching.transport import Deadline, GuardedBackend

__all__ = [
    "MAX_BYTES",
    "Answer",
    "BlockedAddressError",
    "FetchError",
    "Fetched",
    "download",
    "fetch",
    "send",
]

MAX_BYTES = 20 * 1024 * 1024
IDLE_SECONDS = 60.0  # without a byte, in a download
_REDIRECTS = {301, 302, 303, 307, 308}
_EXPIRED = {403, 410}  # object stores return 403 for an expired signature
_RETRYABLE = {408, 425, 429}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")


class FetchError(Exception):
    """A fetch without a usable result; ``str(error)`` is a message for people, without the URL."""

    def __init__(self, message: str, *, retryable: bool = False, expired: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable  # the same fetch may succeed later
        self.expired = expired  # 403 or 410: a new signed URL is needed


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetched file."""

    content: bytes
    # The server's claim, lower case and without parameters; "" if it is missing or malformed.
    content_type: str
    url_without_query: str  # of the last hop


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response of any status."""

    status: int
    content: bytes
    content_type: str
    url_without_query: str


def fetch(
    url: str,
    *,
    allow: Collection[str] = (),
    max_bytes: int = MAX_BYTES,
    deadline: float = 30.0,
    max_redirects: int = 3,
    schemes: Collection[str] = ("https", "http"),
) -> Fetched:
    """Fetch the whole body of an untrusted URL.

    ``allow``: ``host:port`` pairs that may be private, on any port and over plain http.
    ``deadline``: seconds for lookup, redirects and body together. A 200 says nothing about the
    body; the decoder checks it. Raises BlockedAddressError (policy) or FetchError (all other
    failures).
    """
    answer = send(
        "GET",
        url,
        headers={"Accept": "image/*"},
        allow=allow,
        max_bytes=max_bytes,
        deadline=deadline,
        max_redirects=max_redirects,
        schemes=schemes,
    )
    if answer.status == 200:
        return Fetched(answer.content, answer.content_type, answer.url_without_query)
    raise _refuse_status(answer.status)


def _refuse_status(status: int) -> FetchError:
    """Return the error of a response that is not the file."""
    if status in _EXPIRED:
        return FetchError("The URL has expired or forbids reading.", expired=True)
    retryable = status in _RETRYABLE or status >= 500
    return FetchError(f"The server answered {status} instead of the file.", retryable=retryable)


def download(
    url: str,
    file: BinaryIO,
    *,
    size: int,
    allow: Collection[str] = (),
    deadline: float = 6 * 3600.0,
    max_redirects: int = 5,
    schemes: Collection[str] = ("https",),
) -> None:
    """Write a file of a known size to ``file``, which may have its first bytes already.

    The rest is requested with a range, and a server that ignores ranges sends the file from its
    start. What arrived before a FetchError stays in ``file``. ``size`` is in bytes. The caller
    checks the content. Raises BlockedAddressError, FetchError, or OSError of ``file``.
    """
    start = file.seek(0, 2)

    def read(response: httpcore.Response) -> bytes:
        _write_body(response, file, start, size)
        return b""

    _follow(
        "GET",
        check_url(url, allow=allow, schemes=schemes),
        headers={"Range": f"bytes={start}-"} if start else {},
        read=read,
        allow=allow,
        deadline=deadline,
        max_redirects=max_redirects,
        schemes=schemes,
        idle=IDLE_SECONDS,
    )


def _write_body(response: httpcore.Response, file: BinaryIO, start: int, size: int) -> None:
    """Write the body of a download, whose first ``start`` bytes are in the file."""
    if response.status == 200:
        file.truncate(0)
        file.seek(0)
        start = 0
    elif response.status != 206:
        raise _refuse_status(response.status)
    else:
        span = _CONTENT_RANGE.fullmatch(_get_header(response, b"content-range"))
        if span is None or int(span[1]) != start or span[2] not in {"*", str(size)}:
            raise FetchError("The server answered with another part of the file, or another file.")
    wrong_size = FetchError(f"The file on the server does not have {size:,} bytes.")
    length = _read_length(response)
    if length is not None and length != size - start:
        raise wrong_size
    for piece in response.iter_stream():
        start += len(piece)
        if start > size:
            raise wrong_size
        file.write(piece)
    if start < size:
        raise wrong_size


def send(
    method: str,
    url: str,
    *,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    allow: Collection[str] = (),
    max_bytes: int = MAX_BYTES,
    deadline: float = 30.0,
    max_redirects: int = 0,
    schemes: Collection[str] = ("https", "http"),
) -> Answer:
    """Send one request under the same guard and return the response of any status.

    With ``max_redirects`` 0 a redirect is returned as any other status. Redirects are followed for
    GET only. Raises BlockedAddressError or FetchError.
    """
    return _follow(
        method,
        check_url(url, allow=allow, schemes=schemes),
        content=content,
        headers=headers or {},
        read=functools.partial(_read_body, max_bytes=max_bytes),
        allow=allow,
        deadline=deadline,
        max_redirects=max_redirects,
        schemes=schemes,
    )


def _follow(
    method: str,
    target: Target,
    *,
    content: bytes = b"",
    headers: Mapping[str, str],
    read: Callable[[httpcore.Response], bytes],
    allow: Collection[str],
    deadline: float,
    max_redirects: int,
    schemes: Collection[str],
    idle: float | None = None,
) -> Answer:
    """Send a request and follow redirects; ``read`` reads the last response's body."""
    clock = Deadline(deadline)
    for hops_left in range(max_redirects, -1, -1):
        answer, location = _send_once(method, target, content, headers, read, clock, idle)
        if answer.status not in _REDIRECTS or method != "GET" or max_redirects == 0:
            return answer
        if not hops_left:
            break
        following = check_url(_resolve_redirect(target, location), allow=allow, schemes=schemes)
        if target.scheme == "https" and following.scheme == "http" and not following.trusted:
            raise BlockedAddressError("The server redirects from https to http.")
        target = following
    raise FetchError(f"The server redirects more than {max_redirects} times.")


def _resolve_redirect(base: Target, location: str) -> str:
    """Resolve a Location header against the previous URL."""
    # urljoin drops tabs and line ends before parsing. Refuse them first, so that the checked text
    # is the joined text.
    if (
        not location
        or not location.isascii()
        or any(ord(character) <= 0x20 for character in location)
    ):
        raise BlockedAddressError("The server redirects to a URL that is not valid.")
    try:
        return urljoin(base.without_query, location)
    except ValueError:
        raise BlockedAddressError("The server redirects to a URL that is not valid.") from None


def _send_once(
    method: str,
    target: Target,
    content: bytes,
    headers: Mapping[str, str],
    read: Callable[[httpcore.Response], bytes],
    clock: Deadline,
    idle: float | None,
) -> tuple[Answer, str]:
    """Send one request without redirects; return the response and its Location header.

    ``idle`` is the longest time for one step, such as a read, in seconds.
    """
    own = {
        "host": target.netloc,
        "user-agent": "Loupe",
        "accept-encoding": "identity",
        "connection": "close",
    }
    if content or method not in {"GET", "HEAD"}:
        own["content-length"] = str(len(content))
    lines = [
        *own.items(),
        *((name, value) for name, value in headers.items() if name.lower() not in own),
    ]
    url = httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=(target.path + target.query).encode(),
    )
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=_tls_context(),
                max_connections=1,
                max_keepalive_connections=0,
                network_backend=GuardedBackend(target, clock),
            ) as pool,
            pool.stream(
                method,
                url,
                headers=lines,
                content=content or None,
                extensions={"timeout": {"connect": idle, "read": idle, "write": idle}},
            ) as response,
        ):
            if response.status in _REDIRECTS:  # the body of a redirect is not used
                return Answer(response.status, b"", "", target.without_query), _get_header(
                    response, b"location"
                )
            body = read(response)
            return Answer(
                response.status, body, _get_media_type(response), target.without_query
            ), ""
    # "from None", because a chained library error would be logged and may contain the URL.
    except httpcore.TimeoutException:
        raise FetchError("The server did not deliver in time.", retryable=True) from None
    except httpcore.NetworkError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise FetchError("The server's certificate is not valid.") from None
        raise FetchError(
            "The server could not be reached, or the connection broke.", retryable=True
        ) from None
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
        raise FetchError("The server's answer is not valid HTTP.", retryable=True) from None


def _read_body(response: httpcore.Response, max_bytes: int) -> bytes:
    """Return the body.

    Raises FetchError when it is compressed, ambiguous or too long.
    """
    too_long = FetchError(f"The file is larger than {max_bytes / 1024 / 1024:.3g} MiB.")
    length = _read_length(response)
    if length is not None and length > max_bytes:
        raise too_long
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > max_bytes:
            raise too_long
    return bytes(body)


def _read_length(response: httpcore.Response) -> int | None:
    """Return the stated length of the body. Raises FetchError for a compressed or ambiguous one."""
    if _get_header(response, b"content-encoding").lower() not in {"", "identity"}:
        raise FetchError("The server compresses its answer although it was asked not to.")
    length = _get_header(response, b"content-length")
    if length and _get_header(response, b"transfer-encoding"):
        raise FetchError("The server's answer states its length in two ways.")
    return int(length[:20]) if length.isdecimal() else None


def _get_header(response: httpcore.Response, name: bytes) -> str:
    return (
        next((value for key, value in response.headers if key.lower() == name), b"")
        .decode("latin-1")
        .strip()
    )


def _get_media_type(response: httpcore.Response) -> str:
    claimed = _get_header(response, b"content-type").split(";")[0].strip().lower()
    return claimed if _MEDIA_TYPE.fullmatch(claimed) else ""


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return httpcore.default_ssl_context()

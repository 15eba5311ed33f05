"""Network backend: one lookup, a check of every address, a connection to a checked address.

The URL keeps its host name, so Host header, SNI and the certificate check use the name.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from generation.fetching.policy import BlockedAddressError, IpAddress, Target, check_ip_address

# Number of addresses tried per host; the deadline covers all tries together.
_TRIES = 3
_WRITE_PIECE = 64 * 1024


class Deadline:
    """A monotonic deadline shared by lookup, connect, handshake, reads and writes."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self, timeout: float | None, error: type[httpcore.TimeoutException]) -> float:
        """Return the seconds left, at most ``timeout``; raise ``error`` if there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise error("The deadline has passed.")
        return left if timeout is None else min(timeout, left)


class DeadlineStream(httpcore.NetworkStream):
    """A stream with a total deadline.

    httpx and httpcore time out per read only, so a byte every few seconds would never end.
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_PIECE):
            piece = buffer[start : start + _WRITE_PIECE]
            self._stream.write(piece, self._deadline.remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.remaining(timeout, httpcore.ConnectTimeout)
        return DeadlineStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """A backend that connects to one checked target only."""

    def __init__(self, target: Target, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        if (host, port) != (self._target.host, self._target.port):
            raise BlockedAddressError("The connection differs from the URL that was checked.")
        addresses = self._addresses()
        if not self._target.trusted:
            for address in addresses:  # one denied address blocks the name
                check_ip_address(address)
        failure: Exception = httpcore.ConnectError("No IP address.")
        for address in addresses[:_TRIES]:
            left = self._deadline.remaining(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._inner.connect_tcp(
                    str(address), port, left, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return DeadlineStream(stream, self._deadline)
        raise failure

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise BlockedAddressError("Local sockets cannot be fetched from.")

    def _addresses(self) -> list[IpAddress]:
        if self._target.address is not None:
            return [self._target.address]
        left = self._deadline.remaining(None, httpcore.ConnectTimeout)
        return _resolve_host(self._target.host, self._target.port, left)


def _resolve_host(host: str, port: int, seconds: float) -> list[IpAddress]:
    """Resolve a name once.

    ``getaddrinfo`` has no timeout, so it runs in a thread that is abandoned when it is late. Raises
    httpcore.ConnectError or ConnectTimeout, or BlockedAddressError for a result that is not an IP
    address.
    """
    answer: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(
                host.encode("ascii"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
            answer.put([str(entry[4][0]) for entry in found])
        except OSError as error:
            answer.put(error)
        except Exception:  # such as a codec's UnicodeError: the waiting thread must be notified
            answer.put(OSError("The name cannot be looked up."))

    threading.Thread(target=look_up, name="fetch-lookup", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout("The name was not resolved in time.") from None
    if isinstance(found, OSError) or not found:
        raise httpcore.ConnectError("The name was not resolved.")
    try:
        return [ipaddress.ip_address(text) for text in dict.fromkeys(found)]
    except ValueError:
        raise BlockedAddressError("The host is not a valid IP address.") from None

"""A simulated network that detects connections to private addresses."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

Answer = list[tuple[Any, ...]]


class PrivateNetwork:
    """A listening socket that receives every connection to a private address.

    Connections to port 80 or 443 of a private IP address are redirected to ``address``. Connections
    to public IP addresses are refused. ``names`` maps a host name to the results of successive DNS
    lookups; the last result repeats. ``tried_addresses`` lists the IP addresses of all connection
    attempts, ``lookups`` the host names that were looked up.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.names: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []
        self.tried_addresses: list[str] = []
        self.accepted_connections = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted_connections += 1
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    @property
    def is_unreached(self) -> bool:
        return not self.accepted_connections and all(
            ipaddress.ip_address(number).is_global for number in self.tried_addresses
        )


@contextmanager
def simulate_private_network() -> Iterator[PrivateNetwork]:
    found = PrivateNetwork()
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in found.names:
            found.lookups.append(name)
            script = found.names[name]
            return [
                _entry(number, port) for number in (script.pop(0) if len(script) > 1 else script[0])
            ]
        if not _is_number(name) and name != "localhost":
            found.lookups.append(name)
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return look_up(host, port, *args, **options)

    def connect_locally(self: socket.socket, address: Any) -> None:
        if self.family not in (socket.AF_INET, socket.AF_INET6) or address[1] not in (80, 443):
            connect(self, address)
            return
        found.tried_addresses.append(address[0])
        if self.family == socket.AF_INET6 or ipaddress.ip_address(address[0]).is_global:
            raise ConnectionRefusedError("scripted: refused")
        connect(self, ("127.0.0.1", int(found.address.partition(":")[2])))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(socket.socket, "connect", connect_locally)
        try:
            yield found
        finally:
            found.close()


def _entry(number: str, port: Any) -> tuple[Any, ...]:
    family = socket.AF_INET6 if ":" in number else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (number, port))


def _is_number(name: Any) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""A network in which every private place is a tripwire: a real listening socket that nobody may
ever connect to.
"""

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


class Tripwire:
    """Connections to port 80 or 443 of a private number end here, and so do those to ``address``
    itself.

    ``names`` is what the world's DNS answers, one list of numbers per lookup, the last one for
    ever. Public numbers refuse every connection. ``dialled`` holds the numbers that somebody tried,
    ``lookups`` the names.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.names: dict[str, list[list[str]]] = {}
        self.lookups: list[str] = []
        self.dialled: list[str] = []
        self.touched = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.touched += 1
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    @property
    def is_untouched(self) -> bool:
        return not self.touched and all(
            ipaddress.ip_address(number).is_global for number in self.dialled
        )


@contextmanager
def tripwire() -> Iterator[Tripwire]:
    found = Tripwire()
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def scripted(host: Any, port: Any, *args: Any, **options: Any) -> Any:
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

    def dial(self: socket.socket, address: Any) -> None:
        if self.family not in (socket.AF_INET, socket.AF_INET6) or address[1] not in (80, 443):
            connect(self, address)
            return
        found.dialled.append(address[0])
        if self.family == socket.AF_INET6 or ipaddress.ip_address(address[0]).is_global:
            raise ConnectionRefusedError("scripted: refused")
        connect(self, ("127.0.0.1", int(found.address.partition(":")[2])))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", scripted)
        patch.setattr(socket.socket, "connect", dial)
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

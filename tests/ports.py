"""Ports for servers that tests start as processes of their own."""

from __future__ import annotations

import random
import socket

# Below what Linux gives to outgoing connections (net.ipv4.ip_local_port_range): otherwise another
# test's connection may take the port before the server is there, seconds later.
CANDIDATES = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing uses."""
    for port in random.sample(CANDIDATES, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port found")

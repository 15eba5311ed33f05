"""The state of a web process that has been asked to stop but still serves."""

from __future__ import annotations

from collections.abc import Callable


def _never() -> bool:
    return False


_draining: Callable[[], bool] = _never


def drain_when(check: Callable[[], bool]) -> None:
    """Report this process as draining once ``check`` is true."""
    global _draining
    _draining = check


def is_draining() -> bool:
    """Return True if a proxy should send new requests elsewhere."""
    return _draining()

"""Identifiers of decisions: UUIDs ordered by time (version 7 of RFC 9562).

Consecutive identifiers are adjacent in the index, however long the record grows. Random identifiers
are spread over the whole index: with ten million rows, nearly every one needs a disk read. The
desk's script (static/js/core/uuid7.js) creates identifiers in the same way; any other UUID is also
accepted.
"""

from __future__ import annotations

import os
import time
from uuid import UUID


def make_uuid7() -> UUID:
    """Return a new UUID: 48 bits of milliseconds since 1970, random bits, version and variant."""
    bits = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=bits & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)

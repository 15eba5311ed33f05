"""Names of decisions: UUIDs in the order of time (version 7 of RFC 9562).

What was named one after the other then lies side by side in the index of names, however long the
record grows. Names by chance fall all over it: with ten million, nearly every one has to be fetched
from the disk first. The desk's script (static/js/deck.js) names what it sends in the same way, and
any other UUID is as good.
"""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_name() -> UUID:
    """48 bits of milliseconds since 1970, then chance, but for where the version and the variant
    are told.
    """
    bits = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=bits & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)

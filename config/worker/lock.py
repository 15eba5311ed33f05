"""The lock that lets one worker of an installation run under one host name."""

from __future__ import annotations

import hashlib
import socket
import time

from django.conf import settings
from django.core.management.base import CommandError

FREE_WITHIN = 5.0  # seconds; the kernel needs some time to end the processes of a killed worker


def hold_host() -> socket.socket:
    """Bind a socket that stands for this installation and host name; keep it open.

    The kernel frees an abstract address when the last process that has the socket ends: no file is
    left behind by a killed worker, and no new worker starts beside the children of an old one.
    Raises CommandError if another worker has the name.
    """
    database = settings.DATABASES["default"]
    place = "\n".join(str(database.get(key, "")) for key in ("HOST", "PORT", "NAME"))
    digest = hashlib.sha256(f"{settings.HOST_NAME}\n{place}".encode()).hexdigest()
    deadline = time.monotonic() + FREE_WITHIN
    held = socket.socket(socket.AF_UNIX)
    while True:
        try:
            held.bind(f"\0loupe-worker-{digest}")
            return held
        except OSError:
            if time.monotonic() > deadline:
                held.close()
                raise CommandError(
                    f"A worker of this installation already runs as {settings.HOST_NAME}. One"
                    " worker uses all cores; WORKERS changes the number. To run a second one here,"
                    " set HOST_NAME to another name for it."
                ) from None
            time.sleep(0.1)

"""Run a command with TEST_REDIS_URL set to a temporary Redis server.

With ``--bucket`` before the command, TEST_S3_ENDPOINT_URL is an object storage. tests/settings.py
gives each test process a database of that Redis and a prefix in that bucket.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from tests.deploy.servers import Redis
from tests.moto import Moto

BUCKET = "--bucket"


def main() -> int:
    # The servers are in sessions of their own, which end with the context managers only.
    signal.signal(signal.SIGTERM, _leave)
    command = sys.argv[1:]
    with ExitStack() as servers:
        urls = {"TEST_REDIS_URL": servers.enter_context(Redis()).url}
        if BUCKET in command[:1]:
            command = command[1:]
            urls["TEST_S3_ENDPOINT_URL"] = servers.enter_context(Moto()).url
        return subprocess.run(command, env={**os.environ, **urls}).returncode


def _leave(*_: Any) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

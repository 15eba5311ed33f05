"""Run a command with TEST_REDIS_URL and TEST_S3_ENDPOINT_URL set to temporary servers.

tests/settings.py gives each test process a database of that Redis and a prefix in that bucket.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from tests.deploy.servers import Redis
from tests.moto import Moto


def main() -> int:
    # The servers are in sessions of their own, which end with the context managers only.
    signal.signal(signal.SIGTERM, _leave)
    with Redis() as redis, Moto() as moto:
        urls = {"TEST_REDIS_URL": redis.url, "TEST_S3_ENDPOINT_URL": moto.url}
        return subprocess.run(sys.argv[1:], env={**os.environ, **urls}).returncode


def _leave(*_: Any) -> None:
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

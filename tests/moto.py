"""An object storage for tests: moto as a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import boto3

from tests.deploy.servers import Server

BUCKET = "loupe-tests"
KEY, SECRET = "tests", "tests-only"


class Moto(Server):
    """moto's object storage, which keeps everything in memory."""

    name = "moto"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def start(self) -> None:
        super().start()
        connect(self.url).create_bucket(Bucket=BUCKET)


def connect(url: str) -> Any:
    """Return a client of the storage, as another program would use it."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )

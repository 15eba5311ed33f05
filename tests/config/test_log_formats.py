"""The log of a process that runs with LOG_FORMAT=json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROVIDER_KEY = "novita-key-that-no-log-may-show"
SCRIPT = f"""
import logging
from types import SimpleNamespace

import django

django.setup()
logger = logging.getLogger("loupe.tests")
logger.info("Sent %s to %s", "a request", "novita")
logging.getLogger("django.request").warning(
    "Not found", extra={{"request": SimpleNamespace(path="/missing/"), "status_code": 404}}
)
logging.getLogger("django.db.backends").warning(
    "(0.1) SELECT", extra={{"sql": "SELECT", "params": ["a-session-key"], "duration": 0.1}}
)
try:
    raise ValueError("refused: {PROVIDER_KEY}")
except ValueError:
    logger.exception("Failed with {PROVIDER_KEY}")
"""


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    variables = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "only-for-tests-" + "k" * 40,
        "NOVITA_API_KEY": PROVIDER_KEY,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_FORMAT": "json",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=variables, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_record_is_one_json_object_without_secrets(records: list[dict[str, Any]]) -> None:
    sent, missing, query, failed = records

    assert sent.pop("timestamp").endswith("+00:00")
    assert sent == {"level": "INFO", "logger": "loupe.tests", "message": "Sent a request to novita"}
    assert (missing["status_code"], "request" in missing) == (404, False)
    assert query["message"] == "(0.1) SELECT"
    assert not {"sql", "params", "duration"} & set(query)
    assert failed["message"] == "Failed with [key]"
    assert failed["exc_info"].endswith("ValueError: refused: [key]")

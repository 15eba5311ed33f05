"""The page Developers: its examples quote inserted values for the language of the example."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from generation.models import GenerationRequest

ClientOf = Callable[[User], Client]
MakeRequest = Callable[..., GenerationRequest]
HOSTILE = (
    "x'; touch stolen #\"$(touch stolen)`touch stolen`\\ {{ model }} \N{SNOWMAN}\N{GRINNING FACE}"
)
# Log the arguments as one JSON array per line, and print the response of a submission.
CURL = """#!/usr/bin/env python3
import json, sys
open("calls", "a").write(json.dumps(sys.argv[1:]) + "\\n")
print('{"task_id": "6f1c3f6e-1111-4222-8333-444455556666"}')
"""


def read_examples(client: Client) -> dict[str, str]:
    page = client.get("/developers/").content.decode()
    found = re.findall(
        r'<pre class="sample"[^>]* aria-label="([^"]+)"><code>(.*?)</code></pre>', page, re.DOTALL
    )
    return {label: unescape(code) for label, code in found}


@pytest.fixture
def run_with_fake_curl(tmp_path: Path) -> Callable[[str], list[list[str]]]:
    """Return a function that runs shell code with a fake curl and returns its arguments."""
    curl = tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text(CURL)
    curl.chmod(0o755)
    path = f"{curl.parent}:{os.environ['PATH']}"

    def run(code: str) -> list[list[str]]:
        env = {"PATH": path, "LOUPE_KEY": "lp_key", "LANG": "C.UTF-8"}
        subprocess.run(["bash", "-c", code], cwd=tmp_path, env=env, check=True, capture_output=True)
        assert not (tmp_path / "stolen").exists()
        return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

    return run


def test_shell_example_quotes_hostile_model_name(
    client_of: ClientOf,
    moderator: User,
    make_request: MakeRequest,
    run_with_fake_curl: Callable[[str], list[list[str]]],
) -> None:
    make_request(
        requested_by=moderator, model_name=HOSTILE, status="succeeded", finished_at=timezone.now()
    )

    submitted, read = run_with_fake_curl(read_examples(client_of(moderator))["curl: generate"])

    body = json.loads(submitted[submitted.index("-d") + 1])
    assert body["request"]["model_name"] == HOSTILE
    assert "Authorization: Bearer lp_key" in submitted
    assert [part.rpartition("=")[2] for part in read if "task-result" in part] == [
        "6f1c3f6e-1111-4222-8333-444455556666"
    ]


def test_python_example_quotes_hostile_model_name(
    client_of: ClientOf, moderator: User, make_request: MakeRequest
) -> None:
    make_request(
        requested_by=moderator, model_name=HOSTILE, status="succeeded", finished_at=timezone.now()
    )

    tree = ast.parse(read_examples(client_of(moderator))["Python: generate"])

    values = {
        part.arg: ast.literal_eval(part.value)
        for part in ast.walk(tree)
        if isinstance(part, ast.keyword) and isinstance(part.value, ast.Constant)
    }
    assert values["model_name"] == HOSTILE


def test_shell_examples_quote_user_name_and_url(
    client_of: ClientOf,
    moderator: User,
    settings: object,
    run_with_fake_curl: Callable[[str], list[list[str]]],
) -> None:
    User.objects.filter(pk=moderator.pk).update(username="it's; touch stolen")
    settings.PUBLIC_URL = "http://host/$(touch stolen)'"
    examples = read_examples(client_of(moderator))

    for label in ("curl: generate", "curl: classify", "curl: list"):
        assert any(
            part.startswith("http://host/$(touch stolen)'/")
            for call in run_with_fake_curl(examples[label])
            for part in call
        ), label
    made = run_with_fake_curl(examples["Command: make a key"].replace("manage.py", "curl"))[-1]
    assert made[made.index("--owner") + 1] == "it's; touch stolen"


def test_examples_use_only_models_of_visible_requests(
    client_of: ClientOf, moderator: User, make_request: MakeRequest
) -> None:
    make_request(
        requested_by=moderator,
        model_name="mine.safetensors",
        status="succeeded",
        finished_at=timezone.now(),
    )
    make_request(
        model_name="failed.safetensors", status="failed", error="No.", finished_at=timezone.now()
    )

    shown = read_examples(client_of(moderator))

    assert '"mine.safetensors"' in shown["curl: generate"]
    assert "failed.safetensors" not in "".join(shown.values())

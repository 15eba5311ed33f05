"""The page Developers: its examples quote what they insert, for the language it stands in."""

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

As = Callable[[User], Client]
Ask = Callable[..., GenerationRequest]
HOSTILE = (
    "x'; touch stolen #\"$(touch stolen)`touch stolen`\\ {{ model }} \N{SNOWMAN}\N{GRINNING FACE}"
)
# Writes what it was told, a JSON array in a line, and answers as a submission is answered.
CURL = """#!/usr/bin/env python3
import json, sys
open("calls", "a").write(json.dumps(sys.argv[1:]) + "\\n")
print('{"task_id": "6f1c3f6e-1111-4222-8333-444455556666"}')
"""


def examples_of(client: Client) -> dict[str, str]:
    page = client.get("/developers/").content.decode()
    found = re.findall(
        r'<pre class="sample"[^>]* aria-label="([^"]+)"><code>(.*?)</code></pre>', page, re.DOTALL
    )
    return {label: unescape(code) for label, code in found}


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[str], list[list[str]]]:
    """Run code in a shell whose curl writes down its arguments."""
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


def test_a_hostile_model_name_stays_text_in_a_shell(
    client_of: As, moderator: User, make_request: Ask, calls: Callable[[str], list[list[str]]]
) -> None:
    make_request(
        requested_by=moderator, model_name=HOSTILE, status="succeeded", finished_at=timezone.now()
    )

    submitted, read = calls(examples_of(client_of(moderator))["curl: generate"])

    body = json.loads(submitted[submitted.index("-d") + 1])
    assert body["request"]["model_name"] == HOSTILE
    assert "Authorization: Bearer lp_key" in submitted
    assert [part.rpartition("=")[2] for part in read if "task-result" in part] == [
        "6f1c3f6e-1111-4222-8333-444455556666"
    ]


def test_a_hostile_model_name_stays_text_in_python(
    client_of: As, moderator: User, make_request: Ask
) -> None:
    make_request(
        requested_by=moderator, model_name=HOSTILE, status="succeeded", finished_at=timezone.now()
    )

    tree = ast.parse(examples_of(client_of(moderator))["Python: generate"])

    values = {
        part.arg: ast.literal_eval(part.value)
        for part in ast.walk(tree)
        if isinstance(part, ast.keyword) and isinstance(part.value, ast.Constant)
    }
    assert values["model_name"] == HOSTILE


def test_a_user_name_and_an_address_are_quoted_too(
    client_of: As, moderator: User, settings: object, calls: Callable[[str], list[list[str]]]
) -> None:
    User.objects.filter(pk=moderator.pk).update(username="it's; touch stolen")
    settings.PUBLIC_URL = "http://host/$(touch stolen)'"  # type: ignore[attr-defined]
    examples = examples_of(client_of(moderator))

    for label in ("curl: generate", "curl: classify", "curl: list"):
        assert any(
            part.startswith("http://host/$(touch stolen)'/")
            for call in calls(examples[label])
            for part in call
        ), label
    made = calls(examples["Command: make a key"].replace("manage.py", "curl"))[-1]
    assert made[made.index("--owner") + 1] == "it's; touch stolen"


def test_the_examples_name_no_model_of_a_request_that_may_not_be_seen(
    client_of: As, moderator: User, make_request: Ask
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

    shown = examples_of(client_of(moderator))

    assert '"mine.safetensors"' in shown["curl: generate"]
    assert "failed.safetensors" not in "".join(shown.values())

"""The examples of the Developers page, run as printed in a shell or by Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import PASSWORD, Stack
from tests.e2e.test_clients import Desk
from tests.missing import skip_unless_required

pytestmark = pytest.mark.xdist_group("stack")

SECONDS = 300  # for one example; on a busy machine, the demo's requests may be first in the queue
CURLS = ("curl: generate", "curl: classify", "curl: list")
JAVASCRIPTS = ("JavaScript: classify",)
PYTHONS = ("Python: generate", "Python: classify", "Python: list")


@pytest.fixture(scope="module")
def examples(stack: Stack) -> dict[str, str]:
    """Return label → code of the page, read by a logged-in user."""
    with httpx.Client(
        base_url=stack.url, follow_redirects=True, trust_env=False, timeout=120
    ) as browser:
        form = browser.get("/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        assert token is not None
        fields = {
            "username": "moderator",
            "password": PASSWORD,
            "csrfmiddlewaretoken": token.group(1),
        }
        browser.post("/login/", data=fields, headers={"Referer": f"{stack.url}/login/"})
        page = browser.get("/developers/").text
    found = re.findall(
        r'<pre class="sample"[^>]* aria-label="([^"]+)"><code>(.*?)</code></pre>', page, re.DOTALL
    )
    return {label: unescape(code) for label, code in found}


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.api_key("examples", "generate", "classify", "read")


def paste(command: list[str], code: str, key: str, folder: Path) -> str:
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [*command, code],
        cwd=folder,
        env={**env, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "LOUPE_KEY": key},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_developers_page_has_no_untested_examples(examples: dict[str, str]) -> None:
    assert set(examples) - {"Command: make a key"} == {*CURLS, *PYTHONS, *JAVASCRIPTS}
    assert not any("…" in code for code in examples.values())


@pytest.mark.parametrize("label", CURLS)
def test_curl_example_runs_as_printed(
    examples: dict[str, str], key: str, tmp_path: Path, label: str
) -> None:
    if shutil.which("curl") is None:
        skip_unless_required("curl is not installed", "REQUIRE_SERVERS")
    answer = json.loads(paste(["bash", "-c"], examples[label], key, tmp_path))

    if label == "curl: generate":
        assert re.fullmatch(r"[0-9a-f-]{36}", answer["task"]["task_id"])
        assert answer["task"]["status"].startswith("TASK_STATUS_")
    elif label == "curl: classify":
        assert answer["inputCount"] == 1
    else:
        assert isinstance(answer["assets"], list)


@pytest.mark.parametrize("label", ["Python: classify", "Python: list"])
def test_python_example_runs_as_printed(
    examples: dict[str, str], key: str, tmp_path: Path, label: str
) -> None:
    printed = paste([sys.executable, "-c"], examples[label], key, tmp_path)

    assert ("'inputCount': 1" if label == "Python: classify" else "[") in printed


@pytest.mark.parametrize("label", JAVASCRIPTS)
def test_javascript_example_runs_as_printed(
    examples: dict[str, str], key: str, tmp_path: Path, label: str
) -> None:
    if shutil.which("node") is None:
        skip_unless_required("Node is not installed", "REQUIRE_NODE")
    command = ["node", "--input-type=module", "--eval"]
    assert json.loads(paste(command, examples[label], key, tmp_path))["inputCount"] == 1


def test_python_generate_example_runs_as_printed_and_waits_for_its_image(
    stack: Stack, examples: dict[str, str], key: str, tmp_path: Path
) -> None:
    newest = stack.count("select max(id) from generation_generationrequest")
    query = f"""select v.uuid, v.status from moderation_review v join generation_asset a on a.id = v.asset_id
                join generation_generationrequest r on r.id = a.request_id
                where r.id > {newest} and r.prompt like '%harbour at dawn' and v.status in ('pending', 'approved')"""
    with (
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=stack.url, trust_env=False, timeout=120) as http,
    ):
        program = pool.submit(
            paste, [sys.executable, "-c"], examples["Python: generate"], key, tmp_path
        )
        # Where the local detector is installed, the policy approves the image automatically.
        stack.wait_for(lambda: bool(stack.rows(query)), what="the image of the example")
        review, status = stack.rows(query)[0]
        if status == "pending":
            Desk(stack, http).decide(str(uuid.UUID(review)), "approve")
        printed = program.result(timeout=SECONDS)
    listed = paste([sys.executable, "-c"], examples["Python: list"], key, tmp_path)

    assert "/v3/images/" in printed
    asset = stack.rows(f"select uuid from generation_asset where request_id > {newest}")[0][0]
    assert str(uuid.UUID(asset)).replace("-", "") in listed.replace("-", "")

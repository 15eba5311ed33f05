"""A canary in every secret setting: it appears in no page, log, table, export or error.

The list is compared with config/settings.py, so a new secret without a canary fails.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.config.conftest import migrated
from tests.config.workers import KEPT, ROOT

__all__ = ["migrated"]  # a fixture

READ = re.compile(r'env\.(?:text|words|url|database|redis)\(\s*"([A-Z0-9_]+)"')
IS_SECRET = re.compile(r"(?:_KEY|_KEYS|_FALLBACKS|_SECRET|_TOKEN|PASSWORD|DATABASE_URL|REDIS_URL)$")
STRONG = "canary-{}-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGH"
# Settings whose value is not secret although the name looks like it.
NOT_SECRET = {"SCENARIO_API_KEY"}  # a user name, which the provider's address repeats
# Needs to be a complete address.
URLS = {
    "DATABASE_URL": "postgres://loupe:{}@127.0.0.1:1/loupe",
    "REDIS_URL": "redis://:{}@127.0.0.1:1/0",
}


def find_secrets() -> set[str]:
    """Return the names of the settings that hold a secret."""
    text = (ROOT / "config" / "settings.py").read_text()
    names = set(READ.findall(text)) | set(re.findall(r'env\.text\("([A-Z0-9_]+)"\)', text))
    return {name for name in names if IS_SECRET.search(name)} - NOT_SECRET


def make_canary(name: str) -> str:
    return STRONG.format(name.lower().replace("_", "-"))


# Besides each secret, what its setting needs.
TOGETHER = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_REGION": "eu-west-1",
    "CLASSIFIERS": "novita,nanogpt,vlm,rekognition,openai,hma,scenario",
    "EMAIL_HOST": "127.0.0.1",
    "EMAIL_HOST_USER": "loupe",
    "EMAIL_PORT": "1",
    "HEAD_PUBLISH_MAIL": "audit@loupe.example",
    "HEAD_PUBLISH_URL": "https://127.0.0.1:1/",
    "HMA_BASE_URL": "https://127.0.0.1:1",
    "NANOGPT_BASE_URL": "https://127.0.0.1:1",
    "NOVITA_BASE_URL": "https://127.0.0.1:1",
    "OPENAI_BASE_URL": "https://127.0.0.1:1/v1",
    "REKOGNITION_BASE_URL": "https://127.0.0.1:1",
    "SCENARIO_API_KEY": "api_user",
    "SCENARIO_BASE_URL": "https://127.0.0.1:1/v1",
    "VLM_BASE_URL": "https://127.0.0.1:1/v1",
    "VLM_MODEL": "qwen",
}

WALK = """
import logging, sys, traceback
import django
django.setup()
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse
from moderation.services import published_heads

settings.ALLOWED_HOSTS = ["*"]
User.objects.filter(username="ada").update(is_superuser=True, is_staff=True)
browser = Client(raise_request_exception=False)
browser.force_login(User.objects.get(username="ada"))
pages = [reverse(name) for name in ("home", "providers", "developers", "moderation:decision-list")]
pages += ["/admin/", "/healthz", "/readyz", "/metrics", "/nowhere", "/api/openapi.json", "/team/"]
pages += [reverse("moderation:decisions-csv"), "/queues/", "/policies/", "/%00"]
pages += [
    reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for model in admin.site._registry
]
for page in pages:
    response = browser.get(page, secure=True)
    body = b"".join(response) if response.streaming else response.content
    print(page, response.status_code, dict(response.headers), body.decode("utf-8", "replace"))
for slug in ("novita", "nanogpt", "vlm", "rekognition", "openai", "hma", "scenario"):
    answer = browser.post(reverse("provider-check", args=[slug]), secure=True)
    print(slug, answer.status_code, answer.content.decode("utf-8", "replace"))
for act in (
    lambda: mail.send_mail("a", "b", None, ["c@loupe.example"]),
    published_heads.order,
    lambda: published_heads.publish_due(go_on=iter([True, True, False]).__next__),
    lambda: settings.NO_SUCH_SETTING,
):
    try:
        act()
    except Exception:
        traceback.print_exc()
        logging.getLogger("loupe.canaries").exception("It failed")
print("the end")
"""


def run(code: list[str], folder: Path, **variables: str) -> str:
    """Run Python in an environment with a canary in every secret; return all that it prints."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    canaries = {name: make_canary(name) for name in find_secrets() - URLS.keys()}
    environment = {
        **kept,
        **TOGETHER,
        **canaries,
        "DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PUBLIC_URL": "https://loupe.example",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, *code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout


def find_canaries(text: str) -> set[str]:
    return {name for name in find_secrets() if make_canary(name) in text}


def test_list_of_secrets_is_not_empty() -> None:
    assert {"SECRET_KEY", "NOVITA_API_KEY", "EMAIL_HOST_PASSWORD", "METRICS_TOKEN"} < find_secrets()
    assert len(find_secrets()) >= 15


def test_configured_secrets_appear_in_no_page_log_or_table(migrated: Path, tmp_path: Path) -> None:
    shutil.copy(migrated, tmp_path / "db.sqlite3")

    printed = run(["-c", WALK], tmp_path)

    assert "the end" in printed, printed[-2000:]
    assert "/readyz 200" in printed or "/readyz 503" in printed
    assert find_canaries(printed) == set()
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as connection:
        dump = "\n".join(connection.iterdump())
    assert len(dump) > 10_000
    assert find_canaries(dump) == set()


@pytest.mark.parametrize(
    "command", [["manage.py", "check", "--database", "default"], ["manage.py", "migrate"]]
)
def test_passwords_of_database_and_redis_appear_in_no_error(
    command: list[str], tmp_path: Path
) -> None:
    urls = {name: url.format(make_canary(name)) for name, url in URLS.items()}

    printed = run(command, tmp_path, **urls)

    assert "Error" in printed or "error" in printed or "connection" in printed, printed[-2000:]
    assert find_canaries(printed) == set()

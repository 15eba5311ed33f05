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
from django.conf import settings

from tests.config.workers import KEPT, ROOT

# Read as free text, and public: a new setting of this kind is either a secret or listed here.
PUBLIC = {
    "AWS_ACCESS_KEY_ID",
    "AWS_REGION",
    "DATA_DIR",
    "DEFAULT_FROM_EMAIL",
    "EMAIL_HOST",
    "EMAIL_HOST_USER",
    "HOST_NAME",
    "OIDC_CLIENT_ID",
    "OIDC_GROUPS_CLAIM",
    "OIDC_ISSUER",
    "S3_ACCESS_KEY_ID",
    "S3_KMS_KEY_ID",
    "SAML_GROUPS_ATTRIBUTE",
    "SCENARIO_API_KEY",  # a user name, which is part of the provider's URLs
    "SENTRY_DSN",  # a URL with a public key
    "SPENDING_LIMIT_PER_DAY",
    "SSO_NAME",
    "VISION_MODEL",
    "VLM_MODEL",
    "WEB_HOST",
    "WEB_TLS_CERTIFICATE",
    "WEB_TLS_KEY",
}
SETTINGS = (ROOT / "config" / "settings.py").read_text()
READ_IN_FILE = re.compile(r'env\.\w+\(\s*"([A-Z0-9_]+)"')
READ_AS_TEXT = re.compile(r'env\.text\(\s*"([A-Z0-9_]+)"')
IS_SECRET = re.compile(r"(?:_KEY|_KEYS|_FALLBACKS|_SECRET|_TOKEN|PASSWORD|DATABASE_URL|REDIS_URL)$")
# Loaded as a complete address.
URLS = {
    "DATABASE_URL": "postgres://loupe:{}@127.0.0.1:1/loupe",
    "MIGRATION_DATABASE_URL": "postgres://loupe:{}@127.0.0.1:1/loupe",
    "REDIS_URL": "redis://:{}@127.0.0.1:1/0",
}


def find_secrets() -> set[str]:
    """Return the names of the settings that hold a secret."""
    names = settings.ENVIRONMENT_NAMES | set(READ_IN_FILE.findall(SETTINGS))
    return {name for name in names if IS_SECRET.search(name)} - PUBLIC


def make_canary(name: str) -> str:
    return f"canary-{name.lower().replace('_', '-')}-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGH"


# Besides each secret, what its setting needs.
TOGETHER = {
    "ALARM_WEBHOOK_URL": "https://127.0.0.1:1/",
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
    "OIDC_CLIENT_ID": "loupe",
    "OIDC_ISSUER": "https://127.0.0.1:1",
    "OPENAI_BASE_URL": "https://127.0.0.1:1/v1",
    "REKOGNITION_BASE_URL": "https://127.0.0.1:1",
    "S3_ACCESS_KEY_ID": "loupe",
    "S3_BUCKET": "loupe-canaries",
    "S3_ENDPOINT_URL": "https://127.0.0.1:1",
    "SCENARIO_API_KEY": "api_user",
    "SCENARIO_BASE_URL": "https://127.0.0.1:1/v1",
    "VLM_BASE_URL": "https://127.0.0.1:1/v1",
    "VLM_MODEL": "qwen",
}

# Asks for each page without arguments.
WALK = r"""
import logging, sys, traceback
import django
django.setup()
from django.conf import settings
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver, reverse
from moderation.services import published_heads

settings.ALLOWED_HOSTS = ["*"]
call_command("collectstatic", interactive=False, verbosity=0)
User.objects.filter(username="ada").update(is_superuser=True, is_staff=True)
browser = Client(raise_request_exception=False)
browser.force_login(User.objects.get(username="ada"))

def find_paths(patterns, before=""):
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if "<" in route or "(" in route:
            continue
        if hasattr(pattern, "url_patterns"):
            yield from find_paths(pattern.url_patterns, route)
        else:
            yield "/" + route.replace("^", "").replace("$", "").replace("\\Z", "")

pages = sorted(set(find_paths(get_resolver().url_patterns)))
pages = [page for page in pages if not page.endswith("/add/")]  # most are refused
pages += ["/healthz", "/readyz", "/metrics", "/nowhere", "/%00"]
assert len(pages) > 60, pages
for page in pages:
    response = browser.get(page, secure=True)
    body = b"".join(response) if response.streaming else response.content
    print(page, response.status_code, dict(response.headers), body.decode("utf-8", "replace"))
for slug in ("novita", "nanogpt", "vlm", "rekognition", "openai", "hma", "scenario"):
    answer = browser.post(reverse("provider-check", args=[slug]), secure=True, follow=True)
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


# Logs the value of each variable, as an error that quotes it would.
QUOTE = """
import logging, os
import django
django.setup()
for value in os.environ.values():
    logging.getLogger("loupe.canaries").error("refused: %s", value)
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


def test_text_settings_are_secret_or_public() -> None:
    text = set(READ_AS_TEXT.findall(SETTINGS))

    assert text - find_secrets() - PUBLIC == set(), "a new setting: a secret, or public?"
    assert PUBLIC <= settings.ENVIRONMENT_NAMES
    assert {"SECRET_KEY", "NOVITA_API_KEY", "EMAIL_HOST_PASSWORD", "SCIM_TOKEN"} < find_secrets()


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


def test_log_redacts_every_secret_that_an_error_quotes(tmp_path: Path) -> None:
    printed = run(["-c", QUOTE], tmp_path)

    assert "the end" in printed, printed[-2000:]
    assert "refused: [key]" in printed
    assert find_canaries(printed) == set()


@pytest.mark.parametrize("command", [["manage.py", "check_invariants"], ["manage.py", "migrate"]])
def test_passwords_of_database_and_redis_appear_in_no_error(
    command: list[str], tmp_path: Path
) -> None:
    urls = {name: url.format(make_canary(name)) for name, url in URLS.items()}

    printed = run(command, tmp_path, **urls)

    assert "Error" in printed or "error" in printed or "connection" in printed, printed[-2000:]
    assert find_canaries(printed) == set()

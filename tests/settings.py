"""Loupe's own settings under fixed circumstances."""

from __future__ import annotations

import os
import tempfile
from urllib.parse import urlsplit
from uuid import uuid4

# One database of Redis for each process of pytest-xdist.
redis = urlsplit(os.environ.get("TEST_REDIS_URL", ""))
process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
os.environ.update(
    {
        "SECRET_KEY": "tests-only-" + "x" * 50,
        "RECORD_KEY": "tests-only, key of the record: 0123456789 abcdefgh",
        "DATA_DIR": os.environ.get("TEST_DATA_DIR") or tempfile.mkdtemp(prefix="loupe-tests-"),
        "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", ""),
        "REDIS_URL": redis._replace(path=f"/{process}").geturl() if redis.scheme else "",
        "DEBUG": "0",
        "SANDBOX": "1",
        "SANDBOX_LATENCY": "0",
        "SECOND_OPINION_PERCENT": "0",
        "AUDIT_APPROVED_PERCENT": "0",
        "AUDIT_REJECTED_PERCENT": "0",
        # Tests set the clock forward by days, and their people stay logged in.
        "SESSION_IDLE_MINUTES": "0",
        "SESSION_HOURS": "720",
        # Its threads spin while they wait for a processor that another test process has: on two
        # busy cores, the tests of heads took fifty times as long.
        "OPENBLAS_NUM_THREADS": "1",
    }
)
# The shell may hold the variables of a real installation.
OURS = (
    "NOVITA_",
    "NANOGPT_",
    "VLM_",
    "SCENARIO_",
    "AWS_",
    "REKOGNITION_",
    "OPENAI_",
    "HMA_",
    "CLASSIFIERS",
    "FETCH_ALLOW",
    "CALLER_ALLOW",
    "PUBLIC_URL",
    "PORT",
    "ALLOWED_HOSTS",
    "SPENDING_",
    "S3_",
    "ASSET_DELIVERY",
)
for name in list(os.environ):
    if name.startswith(OURS):
        del os.environ[name]
if os.environ.get("TEST_S3_ENDPOINT_URL"):
    os.environ |= {
        "S3_ENDPOINT_URL": os.environ["TEST_S3_ENDPOINT_URL"],
        "S3_BUCKET": "loupe-tests",
        "S3_ACCESS_KEY_ID": "tests",
        "S3_SECRET_ACCESS_KEY": "tests-only",
        "S3_PREFIX": f"run-{uuid4().hex}",  # one per test process
    }

# Imported here because the variables above must be set first.
from config.settings import *
from config.settings import CACHES as _CACHES
from config.settings import DATA_DIR, DATABASES, REDIS_URL
from config.settings import INSTALLED_APPS as _APPS
from config.settings import STORAGES as _STORAGES

ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [*_APPS, "tests.database"]  # with its own flush
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    **_STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, because threads and live servers need real locking. It need not survive a power cut,
    # so it is written without synchronisation.
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"

if not REDIS_URL:
    # In memory instead of the database; conftest.py clears it before each test.
    CACHES = {
        **_CACHES,
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }

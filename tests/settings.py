"""Loupe's own settings under fixed circumstances."""

from __future__ import annotations

import os
import tempfile

os.environ.update(
    {
        "SECRET_KEY": "tests-only-" + "x" * 50,
        "DATA_DIR": os.environ.get("TEST_DATA_DIR") or tempfile.mkdtemp(prefix="loupe-tests-"),
        "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", ""),
        "REDIS_URL": os.environ.get("TEST_REDIS_URL", ""),
        "DEBUG": "0",
        "SANDBOX": "1",
        "SANDBOX_LATENCY": "0",
        "SECOND_OPINION_PERCENT": "0",
    }
)
# Whoever runs the tests may have a real installation's variables set.
OURS = (
    "NOVITA_",
    "NANOGPT_",
    "SCENARIO_",
    "CLASSIFIERS",
    "FETCH_ALLOW",
    "CALLER_ALLOW",
    "PUBLIC_URL",
    "PORT",
    "ALLOWED_HOSTS",
    "SPENDING_",
)
for name in list(os.environ):
    if name.startswith(OURS):
        del os.environ[name]

from config.settings import *  # noqa: E402, F403  (the variables above have to be set first)

ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [*INSTALLED_APPS, "tests.database"]  # noqa: F405  (its own flush)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    **STORAGES,  # noqa: F405
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405
    # A file, because threads and live servers need real locking; nobody will miss it after a power
    # cut.
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}  # noqa: F405
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"  # noqa: F405

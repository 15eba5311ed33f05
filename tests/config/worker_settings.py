"""The real settings plus the sample jobs, for worker processes that tests start."""

from __future__ import annotations

from config.settings import *
from config.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.config.sample_jobs"]

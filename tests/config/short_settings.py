"""A worker with one short-lived process: replaced after every run, and with a time limit of one
second.
"""

from __future__ import annotations

from tests.config.worker_settings import *  # noqa: F403  (settings are one flat namespace)
from tests.config.worker_settings import Q_CLUSTER as _CLUSTER

Q_CLUSTER = {**_CLUSTER, "workers": 1, "recycle": 1, "timeout": 1}

"""Settings of a worker with one process, replaced after every run, with a time limit of 1 s."""

from __future__ import annotations

from tests.config.worker_settings import *  # noqa: F403  # settings are one flat namespace
from tests.config.worker_settings import Q_CLUSTER as _CLUSTER

Q_CLUSTER = {**_CLUSTER, "workers": 1, "recycle": 1, "timeout": 1}

"""Settings of a worker whose processes are replaced after every run, with a time limit of 1 s."""

from __future__ import annotations

from tests.config.worker_settings import *
from tests.config.worker_settings import Q_CLUSTER as _CLUSTER

Q_CLUSTER = {**_CLUSTER, "recycle": 1, "timeout": 1}
PERIODIC_WORKERS = 1

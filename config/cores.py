"""The number of processor cores that this process may use."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def count_usable_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores in the affinity mask, or fewer if the container has a CPU limit."""
    cores = len(os.sched_getaffinity(0))
    limit = _read_limit(cgroup)
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def _read_limit(cgroup: Path) -> float | None:
    """Return the CPU limit of the cgroup (version 2, else 1) in cores."""
    with suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
        period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    return None

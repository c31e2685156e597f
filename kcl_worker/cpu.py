"""How much processor this process may use: the container's quota, not the host's cores."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> float:
    """CPUs by quota (cgroup v2's `cpu.max`, v1's `cpu.cfs_quota_us`) and by affinity."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return min(cores, _quota(cgroup) or cores)


def thread_count(cgroup: Path = CGROUP) -> int:
    """Threads that can compute at once: at least one, a part of a CPU counted whole."""
    return max(1, math.ceil(available_cpus(cgroup)))


def _quota(cgroup: Path) -> float | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(quota) <= 0 or int(period) <= 0:
        return None  # "max", or -1 in v1: no quota
    return int(quota) / int(period)

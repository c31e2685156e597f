"""How much CPU this process may use: the container's quota, not the host's cores."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> float:
    """The CPUs that quota (cgroup v2's `cpu.max`, v1's `cpu.cfs_quota_us`) and affinity allow."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quotas = [quota for folder in folders("cpu", cgroup, membership) if (quota := _quota(folder))]
    return min([cores, *quotas])


def thread_count(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> int:
    """The number of threads that can compute at once: a part of a CPU counts as one thread."""
    return max(1, math.ceil(available_cpus(cgroup, membership)))


def folders(controller: str, cgroup: Path, membership: Path) -> Iterator[Path]:
    """Where limits may stand: in a container the root is its own, elsewhere our group is a folder in it.

    A line of /proc/self/cgroup is `id:controllers:path`, see cgroups(7); version 2 has no controllers there.
    """
    yield cgroup
    yield cgroup / controller
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                yield (cgroup / controller if controllers else cgroup) / path.lstrip("/")


def _quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(quota) <= 0 or int(period) <= 0:
        return None  # "max", or -1 in v1: no quota
    return int(quota) / int(period)

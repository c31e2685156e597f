"""A cgroup with a CPU quota, like a container's. Needs root on Linux."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

ROOT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000


class NoCgroupsError(Exception):
    """Groups cannot be made on this machine."""


@dataclass(frozen=True, slots=True)
class Group:
    """A folder below /sys/fs/cgroup."""

    folder: Path

    def run(self, command: Sequence[str], cwd: Path) -> str:
        """Runs a process in the group until it ends; gives its standard output.

        Raises:
            subprocess.CalledProcessError: If it fails.
        """
        joined = ["/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *command]
        return subprocess.run(joined, cwd=cwd, check=True, capture_output=True, text=True).stdout

    def add(self, pid: int) -> None:
        """Puts a process into the group, with what it starts from now on."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def throttled(self) -> float:
        """The share of periods in which the group was throttled."""
        fields = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(fields["nr_throttled"]) / max(1, int(fields["nr_periods"]))


@contextmanager
def quota(cpus: float) -> Iterator[Group]:
    """Makes a group that may use a number of CPUs.

    Raises:
        NoCgroupsError: If this machine does not allow or support it.
    """
    version_1 = (ROOT / "cpu" / "cpu.cfs_quota_us").exists() or (ROOT / "cpu" / "cgroup.procs").exists()
    folder = (ROOT / "cpu" if version_1 else ROOT) / f"cv2kinesis-{uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        raise NoCgroupsError(f"{folder}: {error.strerror}") from None
    try:
        if version_1:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(round(cpus * PERIOD_US)))
        else:
            (folder / "cpu.max").write_text(f"{round(cpus * PERIOD_US)} {PERIOD_US}")
        yield Group(folder)
    except OSError as error:
        raise NoCgroupsError(f"{folder}: {error.strerror}") from None
    finally:
        os.rmdir(folder)

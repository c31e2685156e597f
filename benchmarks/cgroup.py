"""A cgroup with a processor quota, as a container has one. Needs root on Linux."""

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
    """Groups cannot be made here."""


@dataclass(frozen=True, slots=True)
class Group:
    """A folder below /sys/fs/cgroup."""

    folder: Path

    def run(self, command: Sequence[str], cwd: Path) -> str:
        """Runs a process in it to its end; gives its standard output.

        Raises:
            subprocess.CalledProcessError: If it fails.
        """
        joined = ["/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *command]
        return subprocess.run(joined, cwd=cwd, check=True, capture_output=True, text=True).stdout

    def throttled(self) -> float:
        """The share of its periods in which it wanted more than its quota."""
        fields = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(fields["nr_throttled"]) / max(1, int(fields["nr_periods"]))


@contextmanager
def quota(cpus: float) -> Iterator[Group]:
    """A group that may use so many CPUs.

    Raises:
        NoCgroupsError: If that is not allowed or not known here.
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

"""What processes use of the machine, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of running processes and of their children that have ended."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            # Split after the name, which may hold anything: fields 14 to 17 of proc(5), utime, stime, cutime, cstime.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def resident_mib(pids: Iterable[int]) -> float:
    """Resident memory of processes; shared pages count for each process."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
    return total / 1024

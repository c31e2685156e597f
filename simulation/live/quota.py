"""A share of a processor for a worker, as a container has one.

The kernel's cgroups do it for containers and ask for root. Here who has used up its share stands still (SIGSTOP) until
it has some again, by the tenth of a second as in the kernel.
"""

from __future__ import annotations

import signal
import time
from typing import Final, Self

from local.processes import Worker, cpu_seconds
from local.repeating import Repeating
from local.rig import kill, pids_of

TICK_SECONDS: Final = 0.025
PERIOD_SECONDS: Final = 0.1
# A worker's processes are looked up again so often.
LOOK_SECONDS: Final = 1.0


class Meter:
    """A worker's processor time.

    Attributes:
        used: Seconds of a processor so far, of all its processes, also of those that have ended since.
        held: Whether it is held to its share.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker, self._pids, self._looked = worker, list[int](), 0.0
        self._seen: dict[int, float] = {}
        self.used, self.held = 0.0, False
        self._stands, self._left = False, 0.0

    @property
    def alive(self) -> bool:
        """Whether its worker runs."""
        return self._worker.alive

    def read(self, now: float) -> float:
        """Seconds of a processor since the last time."""
        if now - self._looked > LOOK_SECONDS:
            self._pids, self._looked = pids_of(self._worker), now
        since = 0.0
        for pid in self._pids:
            total = cpu_seconds(pid)
            since += max(0.0, total - self._seen.get(pid, 0.0))
            self._seen[pid] = total
        self.used += since
        return since

    def hold(self, allowance: float, used: float, most: float) -> None:
        """Lets it run while it has something left of its share; all in seconds of a processor."""
        self._left = min(self._left + allowance, most) - used
        if self._left < 0 and not self._stands:
            self._stands = True
            kill(self._pids, signal.SIGSTOP)
        elif self._left >= 0:
            self.release()

    def release(self) -> None:
        """Lets it run."""
        if self._stands:
            self._stands = False
            kill(self._pids, signal.SIGCONT)


class Quota:
    """Meters workers, and holds those that are to be held to a share of a processor.

    Args:
        cores: The share of each.
    """

    def __init__(self, cores: float) -> None:
        self.cores = cores
        self._meters: dict[int, Meter] = {}
        self._before = 0.0
        self._ticking = Repeating(self._tick, TICK_SECONDS, "quota")

    def __enter__(self) -> Self:
        self._before = time.monotonic()
        self._ticking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ticking.stop()
        for meter in self._meters.values():
            meter.release()

    def meter(self, worker: Worker) -> Meter:
        """A worker's meter; the first call begins to meter it."""
        return self._meters.setdefault(worker.process.pid, Meter(worker))

    def _tick(self) -> None:
        now = time.monotonic()
        for meter in [meter for meter in list(self._meters.values()) if meter.alive]:
            used = meter.read(now)
            if meter.held:
                meter.hold(self.cores * (now - self._before), used, self.cores * PERIOD_SECONDS)
        self._before = now

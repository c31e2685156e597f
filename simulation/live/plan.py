"""What is rehearsed: a burst that one task cannot carry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kcl_worker.settings import Settings
from simulation.policies import MINUTE
from simulation.traffic import HOUR, Shape

# A pipeline that sleeps, with no look near.
BEGINS: Final = HOUR
QUIET_SECONDS: Final = 2 * MINUTE
# A start of ten seconds is then as long as one on Fargate.
SPEED: Final = 8.0
_COMPRESSED: Final = ("METRICS_SECONDS", "CHECKPOINT_SECONDS")
# The worker gives the daemon's intervals this length (`kcl_worker/kcl/daemon.py`).
KCL_SECONDS: Final = 2.0
# KCL refuses a report that is older than two intervals, as that of a process may be that stood still meanwhile.
LEAST_KCL_SECONDS: Final = 0.5
_INTERVALS: Final = ("leaseAssignmentIntervalMillis", "workerMetricsReporterFreqInMillis")
# A frame has to be dear for the workers and cheap for the embedded AWS.
NETWORK_PIXELS: Final = 1280


@dataclass(frozen=True, slots=True)
class Plan:
    """A burst, and the tasks that it meets.

    Attributes:
        shards: Of the stream; each has a camera.
        speed: Seconds of CloudWatch in one of ours.
        cores: A task's share of a processor.
        load: The burst, in what one task can do.
        burst_seconds: The burst's length, of CloudWatch.
        stop_seconds: From SIGTERM to SIGKILL, of ours: what a process does takes the time that it takes.
    """

    shards: int
    speed: float = SPEED
    cores: float = 0.35
    load: float = 1.8
    burst_seconds: float = 10 * MINUTE
    stop_seconds: float = 40.0

    def environment(self) -> dict[str, str]:
        """The workers' settings. What has a length by a setting has that of production by CloudWatch's clock: metrics,
        checkpoints, the work on a batch, KCL's assignment of leases."""
        fields, interval = Settings.model_fields, round(1000 * max(KCL_SECONDS / self.speed, LEAST_KCL_SECONDS))
        return {name: f"{fields[name.lower()].default / self.speed:g}" for name in _COMPRESSED} | {
            "KCL_MAX_RECORDS": str(math.ceil(fields["kcl_max_records"].default / self.speed)),
            "KCL_PROPERTIES": ";".join(f"{name} = {interval}" for name in _INTERVALS),
            "YOLO_IMAGE_SIZE": str(NETWORK_PIXELS),
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """What a task can do, in our seconds."""

    start_seconds: float
    frames_per_second: float

    def fps(self, plan: Plan) -> float:
        """Each camera's rate."""
        return plan.load * self.frames_per_second / plan.shards

    def shape(self, plan: Plan) -> Shape:
        """The burst, in seconds of CloudWatch."""
        begins = BEGINS + QUIET_SECONDS

        def rate(at: float, _: int) -> float:
            return self.fps(plan) / plan.speed if begins <= at < begins + plan.burst_seconds else 0.0

        return Shape("a burst", 3, rate)

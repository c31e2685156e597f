"""Stands in for ECS: starts and stops tasks, which are workers, and says of them what ECS says to CloudWatch."""

from __future__ import annotations

import time
from typing import Final

from local.processes import Worker
from local.rig import Fleet
from simulation.cloudwatch import CloudWatch
from simulation.live.feed import Feed
from simulation.live.quota import Quota
from simulation.pipeline import FLEET, STARTING_CPU

# What a worker says once it has read.
_READS: Final = "MillisBehindLatest"


class Task:
    """A worker; times are seconds of our monotonic clock.

    Attributes:
        speaks: Whether it has said anything.
        reads_at: When it first said that it reads.
        lag: In seconds of CloudWatch, as it said last.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker, self.started_at = worker, time.monotonic()
        self.speaks = False
        self.reads_at: float | None = None
        self.lag = 0.0
        self.measured_at, self.used = self.started_at, 0.0


class Service:
    """Tasks of one service.

    A start runs without a quota: on Fargate most of its time is capacity, image and network, none of it CPU. So its CPU
    says nothing here, and CloudWatch is told what the simulation reckons with, at the most.

    Args:
        stop_seconds: From SIGTERM to SIGKILL.

    Attributes:
        desired: The number of tasks.
        tasks: All that were ever started.
    """

    def __init__(self, fleet: Fleet, quota: Quota, stop_seconds: float) -> None:
        self._fleet, self._quota, self._stop_seconds = fleet, quota, stop_seconds
        self._others = {id(worker) for worker in fleet.all}
        self.desired = 0
        self.tasks: list[Task] = []

    def scale(self, desired: int) -> None:
        """Starts tasks, or stops the youngest: SIGTERM, and SIGKILL after the stop timeout."""
        self.desired = desired
        self._fleet.adjust(desired, self._stop_seconds)
        known = self._others | {id(task.worker) for task in self.tasks}
        self.tasks += [Task(worker) for worker in self._fleet.all if id(worker) not in known]
        for task in self.tasks:
            self._quota.meter(task.worker)

    @property
    def wanted(self) -> list[Task]:
        """Tasks that are not told to stop."""
        workers = {id(worker) for worker in self._fleet.workers}
        return [task for task in self.tasks if id(task.worker) in workers]

    @property
    def reading(self) -> int:
        """Tasks that have read, and are not told to stop. One that comes when the load goes may get no shard."""
        return sum(task.reads_at is not None for task in self.wanted)

    @property
    def lag(self) -> float:
        """The longest lag that running tasks say, in seconds of CloudWatch."""
        return max((task.lag for task in self.wanted), default=0.0)

    @property
    def alive(self) -> bool:
        """Whether any process is left."""
        return any(task.worker.alive for task in self.tasks)

    def listen(self, feed: Feed) -> None:
        """Passes on the metrics that workers have written."""
        for task in self.tasks:
            while (line := task.worker.line(0)) is not None:
                task.speaks = True
                lag = feed.line(line).get(_READS)
                if lag is None:
                    continue
                task.lag = lag / 1000
                if task.reads_at is None:
                    task.reads_at = time.monotonic()
                    self._quota.meter(task.worker).held = True

    def report(self, cloudwatch: CloudWatch, second: float) -> None:
        """Stores the metrics of ECS and of Container Insights."""
        if self.desired:
            cloudwatch.put(FLEET, "DesiredTaskCount", second, self.desired)
        if running := sum(task.speaks for task in self.wanted):
            cloudwatch.put(FLEET, "RunningTaskCount", second, running)
        now = time.monotonic()
        for task in self.wanted:
            used, seconds = self._quota.meter(task.worker).used, now - task.measured_at
            if seconds > 0:
                share = 100 * (used - task.used) / (self._quota.cores * seconds)
                most = STARTING_CPU if task.reads_at is None else 100.0
                cloudwatch.put("AWS/ECS", "CPUUtilization", second, min(most, share))
            task.measured_at, task.used = now, used

"""Traffic from none to a burst to none over real workers, which the stack's policies start and stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count, pairwise
from typing import Final

from audit import Findings
from local.interrupts import Interrupts
from local.processes import Process
from local.rig import Rig, observe
from simulation.cloudwatch import CloudWatch
from simulation.live.clock import Clock
from simulation.live.feed import Feed
from simulation.live.plan import BEGINS, QUIET_SECONDS, Measured, Plan
from simulation.live.quota import Quota
from simulation.live.service import Service
from simulation.pipeline import STEP_SECONDS
from simulation.policies import Scaling
from simulation.scaling import AutoScaler, Change
from simulation.traffic import HOUR

# A rehearsal that has not fallen asleep by then never will.
MOST_SECONDS: Final = 1.5 * HOUR
# Frames of each shard by which a task is measured; the first ones warm it.
MEASURED_FRAMES: Final = 24
WARM_FRAMES: Final = 4
MEASURED_FPS: Final = 100
WIDTH: Final = 320


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen at a second of CloudWatch's day.

    Attributes:
        said_lag: The longest that a running task says, in seconds of CloudWatch.
        owners: Of the shards' leases.
    """

    second: int
    desired: int
    reading: int
    said_lag: float
    owners: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it.

    Attributes:
        captured, processed: Of each result of the burst, in its order, the second of CloudWatch's day.
        starts: Seconds of ours from the request for each task to its first read.
        exits: Exit statuses of tasks that ended by themselves.
    """

    plan: Plan
    moments: list[Moment]
    changes: list[Change]
    captured: list[float]
    processed: list[float]
    starts: list[float]
    exits: list[int]
    findings: Findings

    def lag(self, second: float) -> float:
        """The age of the oldest frame that was sent and not yet processed, in seconds of CloudWatch."""
        waiting = (c for c, p in zip(self.captured, self.processed, strict=True) if c <= second < p)
        return second - min(waiting, default=second)

    def succeeded(self, scaling: Scaling) -> bool:
        """Whether tasks went from none to several, where several may run, to none, and every frame has its outcome."""
        numbers = [moment.desired for moment in self.moments]
        several = max(numbers) >= min(2, scaling.maximum)
        return several and numbers[0] == numbers[-1] == 0 and not self.exits and self.findings.clean

    @property
    def moves(self) -> int:
        """How often a shard went from one worker to another."""
        shards = {shard for moment in self.moments for shard in moment.owners}
        owners = ([m.owners[s] for m in self.moments if m.owners.get(s)] for s in shards)
        return sum(before != after for row in owners for before, after in pairwise(row))


class Rehearsal:
    """One burst over one fleet.

    Args:
        rig: With the plan's environment and shards, and no worker yet.
        tell: Called with each moment.
    """

    def __init__(
        self, plan: Plan, scaling: Scaling, rig: Rig, quota: Quota, interrupts: Interrupts,
        tell: Callable[[Moment], None] = lambda *_: None,
    ) -> None:  # fmt: skip
        self._plan, self._scaling, self._rig, self._interrupts, self._tell = plan, scaling, rig, interrupts, tell
        self._quota = quota
        self._service = Service(rig.fleet, quota, plan.stop_seconds)

    def measure(self) -> Measured:
        """Starts a task, has it work through a heap of frames, and stops it."""
        begun = time.monotonic()
        self._service.scale(1)
        [worker] = self._rig.fleet.workers
        worker.wait_for_shards(self._plan.shards)
        started = time.monotonic() - begun
        self._quota.meter(worker).held = True
        self._rig.send(cameras=self._plan.shards, fps=MEASURED_FPS, frames=MEASURED_FRAMES, width=WIDTH).wait()
        self._rig.wait_for_outcomes()
        self._interrupts.check()
        times = sorted(_unix(result.processed_at) for result in self._rig.results)
        warm = WARM_FRAMES * self._plan.shards
        rate = (len(times) - 1 - warm) / (times[-1] - times[warm])
        self._rig.fleet.scale(0)
        return Measured(round(started, 1), round(rate, 2))

    def run(self, measured: Measured) -> Rehearsed:
        """Lets the policies follow the burst until they have stopped the last task.

        Raises:
            InterruptionError: If a signal has come.
        """
        plan, before = self._plan, len(self._rig.results)
        self._service = Service(self._rig.fleet, self._quota, plan.stop_seconds)
        clock, cloudwatch = Clock(plan.speed, BEGINS), CloudWatch()
        feed = Feed(self._scaling, cloudwatch, clock, observe(self._rig.resources, "cloudwatch"))
        scaler = AutoScaler(self._scaling, cloudwatch)
        moments, producer = list[Moment](), None
        for second in self._seconds(clock):
            if producer is None and second >= BEGINS + QUIET_SECONDS:
                producer = self._burst(measured)
            self._service.listen(feed)
            feed.poll()
            scaler.decide(second)
            service = self._service
            service.scale(scaler.desired)
            service.report(cloudwatch, second)
            moments.append(Moment(second, service.desired, service.reading, service.lag, self._rig.leases()))
            self._tell(moments[-1])
            if scaler.changes and producer and not (producer.alive or service.desired or service.alive):
                # Whoever has missed a frame may still wake for it.
                self._rig.collect()
                if not self._rig.missing():
                    break
        findings = self._rig.audit()
        results = sorted(self._rig.results[before:], key=lambda result: result.captured_at)
        return Rehearsed(
            plan, moments, scaler.changes,
            [clock.at(_unix(result.captured_at)) for result in results],
            [clock.at(_unix(result.processed_at)) for result in results],
            [task.reads_at - task.started_at for task in self._service.tasks if task.reads_at is not None],
            list(self._rig.fleet.exits), findings,
        )  # fmt: skip

    def _seconds(self, clock: Clock) -> Iterator[int]:
        for second in count(int(BEGINS), STEP_SECONDS):
            clock.wait_until(second)
            self._interrupts.check()
            if second > BEGINS + MOST_SECONDS:
                return
            yield second

    def _burst(self, measured: Measured) -> Process:
        plan = self._plan
        fps = measured.fps(plan)
        frames = round(fps * plan.burst_seconds / plan.speed)
        return self._rig.send(cameras=plan.shards, fps=fps, frames=frames, width=WIDTH)


def _unix(time_text: str) -> float:
    return datetime.fromisoformat(time_text).timestamp()

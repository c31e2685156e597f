"""The stream and its tasks, in steps of ten seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contract.metrics import PRODUCERS, STARTED, WORKERS
from producer.knock import PAUSE_SECONDS
from simulation.cloudwatch import CloudWatch

STEP_SECONDS: Final = 10
# Seconds from the request for a task to its first record: capacity, image, network, JVM and leases.
START_SECONDS: Final = 80
# A task that starts is not idle: libraries, JVM, model.
STARTING_CPU: Final = 50.0
# Frames a second of one core that is not of the fastest, YOLOv8n in fp32 (docs/performance.md).
CORE_FRAMES_PER_SECOND: Final = 15.0
STREAM, FLEET = "AWS/Kinesis", "ECS/ContainerInsights"
# On-demand Linux/X86 in eu-central-1, dollars an hour: https://aws.amazon.com/fargate/pricing/
VCPU_HOUR: Final = 0.04656
GIB_HOUR: Final = 0.00511


@dataclass
class Shard:
    """A shard's unread records, as (second of arrival, number)."""

    unread: deque[tuple[float, float]] = field(default_factory=deque)

    def read(self, number: float) -> float:
        """Reads up to a number of records; gives how many there were."""
        left = number
        while self.unread and left > 0:
            arrived, count = self.unread.popleft()
            if count > left:
                self.unread.appendleft((arrived, count - left))
                left = 0
            else:
                left -= count
        return number - left

    def lag(self, now: float) -> float:
        """The age of the oldest unread record, in seconds."""
        return now - self.unread[0][0] if self.unread else 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What may be otherwise than usual; times are in seconds.

    Attributes:
        fan_out: The workers are pushed records, so the stream has no metrics of reads.
        replay: In this time something else reads old records of the stream.
        knocks: Whether producers say that they begin.
        late: For so much longer than usual a namespace's metrics cannot be seen.
        silent: In this time a namespace has no metrics.
        outage: In this time a service is away that the workers store frames in.
        core_frames_per_second: What one core does.
        start_seconds: From the request for a task to its first record.
    """

    fan_out: bool = False
    replay: tuple[float, float] = (0.0, 0.0)
    knocks: bool = True
    late: Mapping[str, float] = field(default_factory=dict)
    silent: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    outage: tuple[float, float] = (0.0, 0.0)
    core_frames_per_second: float = CORE_FRAMES_PER_SECOND
    start_seconds: float = START_SECONDS


# The age of what a replay reads, in seconds.
REPLAYED_AGE: Final = 6 * 3600.0


class Pipeline:
    """Shards that are spread evenly over tasks.

    Args:
        frames_per_second: Of one task.
        broken_until: Second before which no task comes up.
        orphaned_at: Second from which nobody reads the first shard, until a task more runs and takes its lease.

    Attributes:
        task_seconds: The billed time of all tasks.
        worst_lag: The greatest age of an unread record, in seconds.
    """

    def __init__(
        self,
        shards: int,
        cloudwatch: CloudWatch,
        frames_per_second: float,
        broken_until: float = 0,
        orphaned_at: float | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        self._shards = [Shard() for _ in range(shards)]
        self._sent_at = [-math.inf] * shards
        self._cloudwatch, self._broken_until, self._orphaned_at = cloudwatch, broken_until, orphaned_at
        self._frames_per_second, self._conditions = frames_per_second, conditions or Conditions()
        self._ready: list[float] = []  # the second at which each task reads its first record
        self.task_seconds = self.worst_lag = 0.0
        self._now = 0.0
        self.running = 0

    @property
    def lag(self) -> float:
        """The age of the oldest unread record, whether a task reads or not."""
        return max(shard.lag(self._now) for shard in self._shards)

    @property
    def unread(self) -> float:
        """The number of unread records."""
        return sum(count for shard in self._shards for _, count in shard.unread)

    def step(self, now: float, desired: int, rates: list[float]) -> None:
        """Lets ten seconds pass; `rates` are frames a second of each shard."""
        self._now = now
        for number, rate in enumerate(rates):
            if rate:
                self._send(number, rate * STEP_SECONDS)
        # A task that is told to stop reads no more; it may have said in this step that it lives.
        stopping = self._ready[desired:]
        del self._ready[desired:]
        while len(self._ready) < desired:
            self._ready.append(max(now, self._broken_until) + self._conditions.start_seconds)
        self.task_seconds += STEP_SECONDS * desired
        before, self.running = self.running, sum(ready <= now for ready in self._ready)
        if self._orphaned_at is not None and now > self._orphaned_at and self.running > before:
            self._orphaned_at = None
        self.worst_lag = max(self.worst_lag, self.lag)
        for _ in range(sum(ready <= now for ready in stopping)):
            self._put(WORKERS, "Workers", 1)
        self._work()
        if desired:
            self._put(FLEET, "DesiredTaskCount", desired)
        if self.running:
            self._put(FLEET, "RunningTaskCount", self.running)
        if _within(self._conditions.replay, now):
            self._put(STREAM, "GetRecords.IteratorAgeMilliseconds", REPLAYED_AGE * 1000)

    def _put(self, namespace: str, metric: str, value: float) -> None:
        self._cloudwatch.put(namespace, metric, self._now, value)

    def _send(self, number: int, records: float) -> None:
        """Puts records on a shard; who has sent none for a while knocks first."""
        self._shards[number].unread.append((self._now, records))
        self._put(STREAM, "IncomingRecords", records)
        if self._conditions.knocks and self._now - self._sent_at[number] >= PAUSE_SECONDS:
            self._put(PRODUCERS, STARTED, 1)
        self._sent_at[number] = self._now

    def _work(self) -> None:
        now = self._now
        unowned = max(0.0, now - self._orphaned_at) if self._orphaned_at is not None else 0.0
        for number in range(self.running):
            own = self._shards[number :: self.running]
            if unowned:
                own = [shard for shard in own if shard is not self._shards[0]]
            self._put(WORKERS, "Workers", 1)
            self._put(WORKERS, "UnownedSeconds", unowned)
            for shard in own:
                # The age of the records that are read in this step; records read next count in the next step.
                self._put(WORKERS, "MillisBehindLatest", shard.lag(now) * 1000)
                if not self._conditions.fan_out:
                    self._put(STREAM, "GetRecords.IteratorAgeMilliseconds", shard.lag(now) * 1000)
            self._put("AWS/ECS", "CPUUtilization", self._process(own))
        for _ in range(sum(ready > now for ready in self._ready)):
            if now >= self._broken_until:
                self._put("AWS/ECS", "CPUUtilization", STARTING_CPU)

    def _process(self, own: list[Shard]) -> float:
        """Lets a task read from its shards for ten seconds; gives the percentage of its CPU that this takes."""
        if _within(self._conditions.outage, self._now):
            self._put(WORKERS, "WaitingSeconds", self._now - self._conditions.outage[0])
            return 0
        power = left = self._frames_per_second * STEP_SECONDS
        for share, shard in enumerate(sorted(own, key=lambda shard: sum(count for _, count in shard.unread))):
            left -= shard.read(left / (len(own) - share))
        if left < power:
            self._put(WORKERS, "Frames", power - left)
        return 100 * (power - left) / power


def _within(time: tuple[float, float], now: float) -> bool:
    since, until = time
    return since <= now < until

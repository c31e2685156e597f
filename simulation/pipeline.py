"""The stream and its tasks, in steps of ten seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from simulation.cloudwatch import CloudWatch

STEP_SECONDS: Final = 10
# Seconds from the request for a task to its first record: capacity, image, network, JVM and leases.
START_SECONDS: Final = 80
# Frames a second of one core, YOLOv8n in fp32 (`make bench`: 30.8 on two cores).
CORE_FRAMES_PER_SECOND: Final = 15.0
READS_PER_STEP: Final = 40
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
    ) -> None:
        self._shards = [Shard() for _ in range(shards)]
        self._cloudwatch, self._broken_until, self._orphaned_at = cloudwatch, broken_until, orphaned_at
        self._frames_per_second = frames_per_second
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
        minute = int(now // 60)
        for shard, rate in zip(self._shards, rates, strict=True):
            if rate:
                shard.unread.append((now, rate * STEP_SECONDS))
                self._cloudwatch.put("IncomingRecords", minute, rate * STEP_SECONDS)
        # Tasks that are told to stop read for ten seconds more, because they are told within a step.
        stopping = self._ready[desired:]
        del self._ready[desired:]
        while len(self._ready) < desired:
            self._ready.append(max(now, self._broken_until) + START_SECONDS)
        self.task_seconds += STEP_SECONDS * desired
        before, self.running = self.running, sum(ready <= now for ready in self._ready + stopping)
        if self._orphaned_at is not None and now > self._orphaned_at and self.running > before:
            self._orphaned_at = None
        self.worst_lag = max(self.worst_lag, self.lag)
        self._work(minute, now)

    def _work(self, minute: int, now: float) -> None:
        unowned = max(0.0, now - self._orphaned_at) if self._orphaned_at is not None else 0.0
        for number in range(self.running):
            self._cloudwatch.put("UnownedSeconds", minute, unowned)
            own = self._shards[number :: self.running]
            if unowned:
                own = [shard for shard in own if shard is not self._shards[0]]
            for shard in own:
                # The age of the records that are read in this step; records read next count in the next step.
                self._cloudwatch.put("GetRecords.IteratorAgeMilliseconds", minute, shard.lag(now) * 1000)
                for _ in range(READS_PER_STEP):
                    self._cloudwatch.put("GetRecords.Success", minute, 1)
            power = left = self._frames_per_second * STEP_SECONDS
            for share, shard in enumerate(sorted(own, key=lambda shard: sum(count for _, count in shard.unread))):
                left -= shard.read(left / (len(own) - share))
            self._cloudwatch.put("CPUUtilization", minute, 100 * (power - left) / power)
        # A task that starts is not idle: libraries, JVM, model.
        for _ in range(sum(ready > now for ready in self._ready)):
            if now >= self._broken_until:
                self._cloudwatch.put("CPUUtilization", minute, 50)
        if self.running:
            self._cloudwatch.put("RunningTaskCount", minute, self.running)

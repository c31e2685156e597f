"""The stream and its tasks, ten seconds at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from simulation.cloudwatch import CloudWatch

STEP_SECONDS: Final = 10
# From the order of a task to its first record: capacity, image, network, JVM and leases.
START_SECONDS: Final = 80
# Of one core, YOLOv8n in fp32 (`make bench`: 30.8 on two cores).
CORE_FRAMES_PER_SECOND: Final = 15.0
READS_PER_STEP: Final = 40
# On-demand Linux/X86 in eu-central-1, dollars an hour: https://aws.amazon.com/fargate/pricing/
VCPU_HOUR: Final = 0.04656
GIB_HOUR: Final = 0.00511


@dataclass
class Shard:
    """Records that nobody has read, as (second of arrival, number)."""

    unread: deque[tuple[float, float]] = field(default_factory=deque)

    def read(self, number: float) -> float:
        """Takes up to so many; gives how many there were."""
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
        """Age of the oldest record, in seconds."""
        return now - self.unread[0][0] if self.unread else 0.0


class Pipeline:
    """Shards, and tasks among which they are spread evenly.

    Args:
        frames_per_second: Of one task.
        broken_until: Second before which no task comes up.

    Attributes:
        task_seconds: Time for which tasks were paid.
        worst_lag: The oldest that a record became unread, in seconds.
    """

    def __init__(self, shards: int, cloudwatch: CloudWatch, frames_per_second: float, broken_until: float = 0) -> None:
        self._shards = [Shard() for _ in range(shards)]
        self._cloudwatch, self._broken_until = cloudwatch, broken_until
        self._frames_per_second = frames_per_second
        self._ready: list[float] = []  # second at which each task reads its first record
        self.task_seconds = self.worst_lag = 0.0
        self._now = 0.0
        self.running = 0

    @property
    def lag(self) -> float:
        """Age of the oldest unread record, whether anybody reads or not."""
        return max(shard.lag(self._now) for shard in self._shards)

    @property
    def unread(self) -> float:
        """Records that nobody has read."""
        return sum(count for shard in self._shards for _, count in shard.unread)

    def step(self, now: float, desired: int, rates: list[float]) -> None:
        """Lets ten seconds pass; `rates` are frames a second of each shard."""
        self._now = now
        minute = int(now // 60)
        for shard, rate in zip(self._shards, rates, strict=True):
            if rate:
                shard.unread.append((now, rate * STEP_SECONDS))
                self._cloudwatch.put("IncomingRecords", minute, rate * STEP_SECONDS)
        # Those that are told to stop read for ten seconds more: they are told in between.
        stopping = self._ready[desired:]
        del self._ready[desired:]
        while len(self._ready) < desired:
            self._ready.append(max(now, self._broken_until) + START_SECONDS)
        self.task_seconds += STEP_SECONDS * desired
        self.running = sum(ready <= now for ready in self._ready + stopping)
        self.worst_lag = max(self.worst_lag, self.lag)
        self._work(minute, now)

    def _work(self, minute: int, now: float) -> None:
        for number in range(self.running):
            own = self._shards[number :: self.running]
            for shard in own:
                # The age of the records that are read now; those read next show in the next reading.
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

"""What the worker knows about the shards that it holds, for /health, /status and the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

# A quiet shard is read four times a second. After so long, what the last read said of it is no longer known to be so.
STALE_SECONDS: Final = 10.0
# With fan-out, Kinesis speaks when it wants to; after 35 s KCL subscribes anew.
FANOUT_STALE_SECONDS: Final = 60.0


@dataclass(slots=True)
class Shard:
    """One held shard; times are seconds of the board's clock.

    Attributes:
        reads: Batches that have come, empty ones included.
        last_read: When the last of them came; at first the time since which the shard is held.
        pending: Records that were announced and have no outcome yet.
        millis_behind_latest: As the last read said; None before the first.
        at_work: When the records arrived that are at work, by the board's clock.
        checkpointing_since: When the daemon was asked for a checkpoint that it has not made yet.
        lost: Whether another worker has the lease.
    """

    shard_id: str
    held_since: float
    last_progress: float
    last_read: float
    reads: int = 0
    pending: int = 0
    frames: int = 0
    quarantined: int = 0
    millis_behind_latest: int | None = None
    at_work: list[float] = field(default_factory=list)
    stale_seconds: float = STALE_SECONDS
    checkpoint: str | None = None
    checkpointing_since: float | None = None
    lost: bool = False

    def announce(self, records: int, millis_behind_latest: int, now: float) -> None:
        """A batch begins."""
        self.reads += 1
        self.last_read = now
        if not self.pending:
            self.last_progress = now
        self.pending += records
        self.millis_behind_latest = millis_behind_latest

    @contextmanager
    def working(self, arrived: float) -> Iterator[None]:
        """A record is at work that arrived at a time of the board's clock."""
        self.at_work.append(arrived)
        try:
            yield
        finally:
            self.at_work.remove(arrived)

    def settle(self, now: float, *, quarantined: bool) -> None:
        """Notes that a record has its outcome."""
        self.pending -= 1
        self.last_progress = now
        if quarantined:
            self.quarantined += 1
        else:
            self.frames += 1

    def checkpointing(self, now: float) -> None:
        """A checkpoint begins, which the record processor waits for."""
        self.checkpointing_since = now

    def checkpointed(self, sequence_number: str, now: float) -> None:
        """A checkpoint is made."""
        self.checkpoint, self.checkpointing_since, self.last_progress = sequence_number, None, now

    def lose(self) -> None:
        """The lease is gone: no checkpoint will be made any more."""
        self.lost, self.checkpointing_since = True, None

    def silent(self, now: float) -> float | None:
        """Seconds for which nothing could be read; None if they are few, or the shard has other things to do."""
        idle = now - self.last_progress  # the last read brought nothing, or has been dealt with since
        busy = (self.pending or self.checkpointing_since is not None) and not self.lost
        return None if busy or idle <= self.stale_seconds else idle

    def lag(self, now: float) -> int | None:
        """How far it is behind its end, in milliseconds; None where nobody knows that any more.

        The end moves on while records of the last read have no outcome, whatever they wait for. The daemon reads ahead,
        and what a read says does not count the records that lie ready: a record at work is older than all of them.
        """
        if self.millis_behind_latest is None or self.silent(now):
            return None
        behind = self.millis_behind_latest + (round((now - self.last_read) * 1000) if self.pending else 0)
        return max([behind, *(round((now - arrived) * 1000) for arrived in self.at_work)])


@dataclass(slots=True)
class ShardBoard:
    """The shards that this worker holds.

    Args:
        clock: Monotonic time in seconds.
        stale_seconds: For so long what a read says of a shard counts.
    """

    clock: Callable[[], float] = time.monotonic
    stale_seconds: float = STALE_SECONDS
    _held: dict[int, Shard] = field(default_factory=dict)

    @contextmanager
    def hold(self, shard_id: str, checkpoint: str | None) -> Iterator[Shard]:
        """Keeps a shard on the board while its record processor is connected."""
        now = self.clock()
        shard = Shard(shard_id, now, now, now, stale_seconds=self.stale_seconds, checkpoint=checkpoint)
        self._held[id(shard)] = shard
        try:
            yield shard
        finally:
            del self._held[id(shard)]

    def held(self) -> list[Shard]:
        """The held shards, sorted by shard id."""
        return sorted(self._held.values(), key=lambda shard: shard.shard_id)

    def reading(self) -> set[str]:
        """Ids of the shards that are held and not lost."""
        return {shard.shard_id for shard in self.held() if not shard.lost}

    def stuck(self, after_seconds: float) -> list[Shard]:
        """The shards that have records and have made no progress for this time, though nothing keeps them from it: they
        do not wait for a checkpoint, and the lease is still ours."""
        limit = self.clock() - after_seconds
        able = [shard for shard in self.held() if shard.checkpointing_since is None and not shard.lost]
        return [shard for shard in able if shard.pending and shard.last_progress < limit]

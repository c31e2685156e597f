"""What the worker knows of the shards it holds: for /health, /status and the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Shard:
    """One held shard; times are seconds of the board's clock."""

    shard_id: str
    held_since: float
    last_progress: float
    pending: int = 0
    frames: int = 0
    quarantined: int = 0
    millis_behind_latest: int = 0
    checkpoint: str | None = None

    def announce(self, records: int, millis_behind_latest: int, now: float) -> None:
        """A batch begins."""
        if not self.pending:
            self.last_progress = now
        self.pending += records
        self.millis_behind_latest = millis_behind_latest

    def settle(self, now: float, *, quarantined: bool) -> None:
        """A record has its outcome."""
        self.pending -= 1
        self.last_progress = now
        if quarantined:
            self.quarantined += 1
        else:
            self.frames += 1


@dataclass(slots=True)
class ShardBoard:
    """The shards that this worker holds.

    Args:
        clock: Seconds that never go back.
    """

    clock: Callable[[], float] = time.monotonic
    _held: dict[int, Shard] = field(default_factory=dict)

    @contextmanager
    def hold(self, shard_id: str, checkpoint: str | None) -> Iterator[Shard]:
        """Lists a shard for as long as its record processor is connected."""
        now = self.clock()
        shard = Shard(shard_id, now, now, checkpoint=checkpoint)
        self._held[id(shard)] = shard
        try:
            yield shard
        finally:
            del self._held[id(shard)]

    def held(self) -> list[Shard]:
        """By shard id."""
        return sorted(self._held.values(), key=lambda shard: shard.shard_id)

    def stuck(self, after_seconds: float) -> list[Shard]:
        """Those that have records and made no progress for so long."""
        limit = self.clock() - after_seconds
        return [shard for shard in self.held() if shard.pending and shard.last_progress < limit]

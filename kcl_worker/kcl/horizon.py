"""Up to which time a shard was read: what has arrived until then is done, so that silence can be told from delay."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final

# Reads that may lie ready in the daemon while the one before is at work: with polling, KCL prefetches three and makes
# the next (`maxPendingProcessRecordsInput`); with fan-out, Kinesis may push ten more than are asked for.
POLLED: Final = 4
PUSHED: Final = 11


class Horizon:
    """The horizon of one shard, in seconds since 1970.

    While records come it is the arrival of the last one, by Kinesis's own clock. At the shard's end, a read that finds
    nothing moves it on: to when the daemon took delivery of a read so long before that this one was made after it.

    Args:
        ahead: Reads that may lie ready.
    """

    def __init__(self, ahead: int) -> None:
        self._deliveries: deque[float] = deque(maxlen=ahead + 1)
        self.time = 0.0

    def record(self, arrived_at: datetime) -> None:
        """A record is read."""
        self.time = max(self.time, arrived_at.timestamp())

    def read(self, records: int, millis_behind_latest: int, now: float) -> None:
        """A read is delivered; what was read before is done.

        Args:
            now: Seconds since 1970.
        """
        self._deliveries.append(now)
        full = len(self._deliveries) == self._deliveries.maxlen
        if full and not records and not millis_behind_latest:
            self.time = max(self.time, self._deliveries[0])

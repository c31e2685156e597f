"""What the parts of this worker are doing, and since when: said by those who do it.

    with doing("s3"):
        …                   # a call of S3, with all its attempts

Nobody else can tell: a frame that waits for S3, one that waits for a core, and one whose decoder hangs look alike from
outside. `operating/progress.py` judges by it who waits with a reason and who stands still without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

SERVICES: Final = frozenset({"dynamodb", "events", "kinesis", "s3", "sqs", "ssm"})
"""Waiting for one of these is no illness, however long it takes."""
NATIVE: Final = frozenset({"decode", "detect", "encode"})
"""Work of a thread in native code, which nothing can interrupt."""

SHARD: Final[ContextVar[str | None]] = ContextVar("shard", default=None)
"""The shard for which the current task or thread works, if it is for one."""


@dataclass(frozen=True, slots=True)
class Doing:
    """One thing that is being done.

    Attributes:
        what: One of `SERVICES`, one of `NATIVE`, or what else is waited for: `memory`, `core`, `isolation`, `turn`.
        since: By the clock of `Doings`.
        shard_id: For which shard, if it is for one.
    """

    what: str
    since: float
    shard_id: str | None


class Doings:
    """Everything that is being done now. May be used from all threads.

    Args:
        clock: Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._now: dict[object, Doing] = {}
        self._moved = clock()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Something is being done for as long as the block lasts."""
        key = object()
        self._now[key] = Doing(what, self.clock(), SHARD.get())
        try:
            yield
        finally:
            del self._now[key]
            if what in SERVICES or what in NATIVE:
                self._moved = self.clock()

    def now(self) -> list[Doing]:
        """What is being done, the oldest first."""
        return sorted(self._now.values(), key=lambda one: one.since)

    def moved_within(self, seconds: float) -> bool:
        """Whether a service or a thread has been waited for, or has come to an end of its work, within so many seconds.

        What waits for anything else, such as memory or a turn, waits for one of these in the end.
        """
        now = self.clock()
        return (
            now - self._moved <= seconds
            or any(one.what in SERVICES for one in self.now())
            or any(one.what in NATIVE and now - one.since <= seconds for one in self.now())
        )


NOW: Final = Doings()
"""What this process does."""

doing: Final = NOW.doing

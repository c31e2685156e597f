"""Who waits with a reason, and who stands still without one.

Each part says what it does (`kcl_worker.doing`), each shard's record processor when it has read (`kcl.shards`), the
daemon that it lives (`kcl.daemon_watch`). From that follows:

- Whoever waits for a service is well, for however long. It is told, and nothing is restarted.
- Whoever waits for a core, for memory or for its turn is as well as those who have them.
- Native code that is at one piece of work for the stuck time hangs, and so does a record processor that has announced
  records and does not hand them over, a daemon that does not report, and a reader that Kinesis answers and who reads
  nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from kcl_worker.doing import NATIVE, NOW, SERVICES, Doings
from kcl_worker.errors import StuckError
from kcl_worker.kcl.shards import Shard, ShardBoard

# A call that takes less time than this is at work, and not worth telling.
LEAST_WAIT_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Wait:
    """What this worker waits for.

    Attributes:
        seconds: So long the longest that waits for it has.
    """

    service: str
    seconds: float


class Progress:
    """What this worker does and waits for, and whether any part of it stands still.

    Attributes:
        daemon_problem: Says what is wrong with the daemon, if it stands still.
        unread: Gives shards that could be read, and are not.
    """

    def __init__(self, board: ShardBoard, stuck_seconds: float, doings: Doings = NOW) -> None:
        self._board, self._stuck_seconds, self._doings = board, stuck_seconds, doings
        self.daemon_problem: Callable[[], str | None] = lambda: None
        self.unread: Callable[[], list[str]] = list

    def problem(self) -> str | None:
        """Which part stands still; None if none does."""
        if stuck := sorted({*self._stuck_shards(), *self._overdue_shards()}):
            return f"no progress for {self._stuck_seconds:g} s on {', '.join(stuck)}"
        if problem := self.daemon_problem():
            return problem
        if unread := self.unread():
            return f"Kinesis answers, and nothing reads {', '.join(unread)}"
        return None

    def waits(self) -> list[Wait]:
        """What is waited for, by service, the longest first."""
        now, longest = self._doings.clock(), dict[str, float]()
        for one in self._doings.now():
            if one.what in SERVICES:
                longest.setdefault(one.what, now - one.since)  # the oldest comes first
        here = self._board.clock()
        for shard in self._board.held():
            if (silent := shard.silent(here)) is not None:
                longest["kinesis"] = max(silent, longest.get("kinesis", 0.0))
            if shard.checkpointing_since is not None:
                longest["dynamodb"] = max(here - shard.checkpointing_since, longest.get("dynamodb", 0.0))
        waits = [Wait(service, seconds) for service, seconds in longest.items() if seconds >= LEAST_WAIT_SECONDS]
        return sorted(waits, key=lambda wait: -wait.seconds)

    def of_shard(self, shard: Shard) -> dict[str, Any]:
        """What is being done for a shard, and for how long."""
        now, here = self._doings.clock(), self._board.clock()
        if shard.checkpointing_since is not None:
            return _doing("dynamodb", here - shard.checkpointing_since)
        if (silent := shard.silent(here)) is not None:
            return _doing("kinesis", silent)
        if not shard.pending:
            return _doing("records", here - max(shard.last_progress, shard.held_since))
        done = [one for one in self._doings.now() if one.shard_id == shard.shard_id]
        if not done:
            return _doing("record processor", here - shard.last_progress)
        # One that waits for its turn waits for one of the others.
        first = next((one for one in done if one.what != "turn"), done[0])
        return _doing(first.what, now - first.since)

    def threads(self) -> list[dict[str, Any]]:
        """What threads do in native code, the oldest first."""
        now = self._doings.clock()
        return [_doing(one.what, now - one.since) for one in self._doings.now() if one.what in NATIVE]

    async def run(self, problem: Callable[[], str | None]) -> None:
        """Ends the worker when it has stood still for the stuck time after it was seen to.

        Args:
            problem: Which part stands still, if one does.

        Raises:
            StuckError: Says which.
        """
        since: float | None = None
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, self._stuck_seconds / 4))
            if (found := problem()) is None:
                since = None
            elif since is None:
                since = self._doings.clock()
            elif self._doings.clock() - since >= self._stuck_seconds:
                raise StuckError(found)

    def _stuck_shards(self) -> list[str]:
        """Shards whose announced records nobody has at hand, or wait for what never comes."""
        stuck = self._board.stuck(self._stuck_seconds)
        if not stuck:
            return []
        at_hand = {one.shard_id for one in self._doings.now()}
        moves = self._doings.moved_within(self._stuck_seconds)
        return [shard.shard_id for shard in stuck if shard.shard_id not in at_hand or not moves]

    def _overdue_shards(self) -> list[str]:
        """Shards on whose frames native code hangs."""
        limit = self._doings.clock() - self._stuck_seconds
        return [one.shard_id or "" for one in self._doings.now() if one.what in NATIVE and one.since < limit]


def _doing(what: str, seconds: float) -> dict[str, Any]:
    return {"what": what, "seconds": round(seconds, 1)}

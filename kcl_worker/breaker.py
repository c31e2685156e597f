"""Finds the record that kills workers, so that it kills two at the most.

A worker that dies of a record says nothing: no exception, no last log line. Whoever is next would read the same record
and die as well, until the record's retention ends. So each shard has a mark in S3 that outlives its worker:

| the mark says | the next owner of the lease |
| --- | --- |
| nothing, or at rest | marks the shard as at work before its first record, and trusts all records |
| at work | watches: it notes records in the mark before their work begins |
| at work on these records | has those computed one at a time in another process, and watches all others |

The next owner watches until it has come to records that arrived after its beginning: its forerunner cannot have died of
those. In healthy operation a lease costs one read and two writes, a record nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, Field, ValidationError

from contract import Position
from kcl_worker.record import Outcome, Place, Record, ShardWork, Turn
from kcl_worker.storing.sinks import RENEW_SECONDS, StateStore

logger = logging.getLogger(__name__)

# Kinesis' clock and the worker's may differ by so much.
CLOCK_MARGIN: Final = timedelta(minutes=1)
# A mark that is not removed in time costs its successor notes, so a failing S3 does not hold up the end.
REST_SECONDS: Final = 5.0
RENEW_AFTER: Final = timedelta(seconds=RENEW_SECONDS)


class Mark(BaseModel):
    """What a shard's workers know of each other.

    Attributes:
        at_rest: Whether the last worker ended its work in good order.
        records: Sequence numbers of records that may have been at work; none where the worker did not note them.
    """

    at_rest: bool = False
    records: list[Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")]] = []


class Breaker:
    """Wraps the work on shards.

    Args:
        marks: Keeps a text for each shard.
        begin: Called with the shard id when a lease begins; gives the work that is wrapped.
        clock: The time now.
    """

    def __init__(
        self,
        marks: StateStore,
        begin: Callable[[str], ShardWork],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._marks, self._begin, self._clock = marks, begin, clock

    def begin(self, shard_id: str) -> GuardedShard:
        """Begins the work on a shard that was leased."""
        return GuardedShard(self._marks, shard_id, self._begin(shard_id), self._clock)


class GuardedShard:
    """The work on one shard, with its mark. It touches the mark at the first record: an idle shard costs nothing."""

    def __init__(self, marks: StateStore, shard_id: str, work: ShardWork, clock: Callable[[], datetime]) -> None:
        self._marks, self._shard_id, self._work = marks, shard_id, work
        self._clock = clock
        self._trusts_after = clock() + CLOCK_MARGIN
        self._written = clock()
        self._begun = self._watches = False
        self._suspects: set[str] = set()
        self._at_work: dict[str, datetime] = {}
        self._noted: set[str] = set()
        self._entering = 0  # records before their work, which nobody may overtake
        self._writing = asyncio.Lock()

    async def process(self, record: Record) -> Outcome:
        """Gives a record's outcome once it is stored."""
        if self._begun and not self._watches and not self._entering:
            return await self._work.process(record)
        async with self._watched(record.position) as suspect:
            return await self._work.process(replace(record, suspect=suspect))

    def is_due(self, now: float) -> bool:
        """Whether `rest` has anything to do."""
        return self._work.is_due(now)

    async def rest(self, turn: Callable[[], Turn], now: float) -> None:
        """Does what is due while no record comes."""
        await self._work.rest(turn, now)

    def close(self) -> None:
        """The shard has ended."""
        self._work.close()

    async def save(self) -> Place | None:
        """Stores what belongs to the checkpoint that follows; gives its place."""
        if self._begun and not self._watches and self._clock() - self._written > RENEW_AFTER:
            await self._write(Mark())
        return await self._work.save()

    async def finish(self) -> None:
        """Says that no worker is at work on this shard."""
        await self._work.finish()
        if not self._begun:
            return
        try:
            async with asyncio.timeout(REST_SECONDS):
                await self._write(Mark(at_rest=True))
        except TimeoutError:
            logger.warning("no mark of rest; the next owner watches records", extra={"shard_id": self._shard_id})

    @asynccontextmanager
    async def _watched(self, position: Position) -> AsyncIterator[bool]:
        """Notes a record before its work; gives whether a worker may have died of it."""
        name = position.sequence
        self._at_work[name] = position.arrived_at
        self._entering += 1
        try:
            try:
                await self._note(name)
            finally:
                self._entering -= 1
            yield name in self._suspects
            # Not where the work has failed: then the mark has to name it.
            self._suspects.discard(name)
            await self._trust(position.arrived_at)
        finally:
            del self._at_work[name]

    async def _note(self, name: str) -> None:
        """Returns when the mark names the record; to the records in their order. Those that come while the mark is
        written share the next writing."""
        async with self._writing:
            if not self._begun:
                await self._open(name)
            if self._watches and name not in self._noted:
                noted = self._suspects | self._at_work.keys()
                await self._write(Mark(records=sorted(noted)))
                self._noted = noted

    async def _open(self, first: str) -> None:
        mark = self._read(await self._marks.get(self._key()))
        self._watches = not mark.at_rest
        # Those before the first record have their outcome, and will not come again.
        self._suspects = {name for name in mark.records if _place(name) >= _place(first)}
        if self._watches:
            extra = {"shard_id": self._shard_id, "suspects": sorted(self._suspects)}
            logger.warning("the worker before did not end its work here; records are watched", extra=extra)
        else:
            await self._write(Mark())
        self._begun = True

    @staticmethod
    def _read(text: str | None) -> Mark:
        if text is None:
            return Mark(at_rest=True)
        try:
            return Mark.model_validate_json(text)
        except ValidationError:
            return Mark()  # whoever wrote it did not end well

    async def _trust(self, arrived_at: datetime) -> None:
        """Ends the watching once nothing is at work that the worker before can have read."""
        old = self._suspects or any(other <= self._trusts_after for other in self._at_work.values())
        if not self._watches or arrived_at <= self._trusts_after or old:
            return
        async with self._writing:
            if self._watches:
                await self._write(Mark())
                self._watches = False
                logger.info("the shard's records are trusted again", extra={"shard_id": self._shard_id})

    async def _write(self, mark: Mark) -> None:
        await self._marks.put(self._key(), mark.model_dump_json())
        self._written = self._clock()

    def _key(self) -> str:
        return f"at-work/{self._shard_id}"


def _place(name: str) -> tuple[int, int]:
    """A sequence number and a sub-sequence number, which grow along a shard."""
    sequence, _, sub = name.partition(".")
    return int(sequence), int(sub or 0)

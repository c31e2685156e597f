"""A record on its way through the worker: the types that gateway, wire and pipeline share.

Record processors import this module, so it imports little.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from contract import Position


Place = tuple[str, int]
"""Where a record stands in its shard: its sequence number and sub-sequence number."""


def place_of(position: Position) -> Place:
    """Where a record stands in its shard."""
    return position.sequence_number, position.sub_sequence_number


class Outcome(IntEnum):
    """What became of a record. Only REFUSED means that the record has to be read again."""

    DURABLE = 1
    QUARANTINED = 2
    REFUSED = 3


class Turn:
    """A record's turn among its shard's records. Later records wait until this turn is over or given up.

    Args:
        before: Set when the turn before is over; None for the first.
        over: Set when this turn is over.
    """

    def __init__(self, before: asyncio.Event | None, over: asyncio.Event) -> None:
        self._before, self._over = before, over

    async def __aenter__(self) -> None:
        if self._before is not None:
            await self._before.wait()
            self._before = None  # otherwise the chain would keep every turn of the shard in memory

    async def __aexit__(self, *_: object) -> None:
        self._over.set()

    def give_up(self) -> None:
        """Lets later records pass."""
        self._over.set()


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the stream, with its turn among those of its shard.

    Attributes:
        lag_ms: How far the record was behind its shard's end when it was read, in milliseconds.
        suspect: Whether a worker may have died of it.
    """

    data: bytes
    position: Position
    turn: Turn
    lag_ms: int = 0
    suspect: bool = False


class ShardWork(Protocol):
    """The work on the records of one shard, from the start of its lease to its end."""

    async def process(self, record: Record) -> Outcome:
        """Called for each record, several at once; gives its outcome once it is stored. An error ends the worker."""

    def is_due(self, now: float) -> bool:
        """Called with each read, while no record is at work; gives whether `rest` has anything to do.

        Args:
            now: Every record that has arrived up to then is done; seconds since 1970, by the stream's clock.
        """

    async def rest(self, turn: Callable[[], Turn], now: float) -> None:
        """Called then, one at a time; records may come meanwhile. What it does to the work on records, it does within a
        turn among them."""

    def close(self) -> None:
        """Called when no record will follow: the shard has ended, or the lease has."""

    async def save(self) -> Place | None:
        """Called before a checkpoint, while records may be at work; gives the last record whose outcome, and that of
        every record before it, is stored, once what belongs to a checkpoint there is stored; None: there is none."""

    async def finish(self) -> None:
        """Called when the lease ends in good order, after its last record; not if the worker dies."""

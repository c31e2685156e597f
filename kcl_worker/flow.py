"""Order between the concurrent frames of a shard."""

from __future__ import annotations

import asyncio


class Turns:
    """Lets the records of a shard announce their outcomes in the order in which they came."""

    def __init__(self) -> None:
        self._last: asyncio.Event | None = None

    def next(self) -> Turn:
        turn = Turn(self._last)
        self._last = turn.over
        return turn


class Turn:
    """One place in the queue; those behind wait until it was entered and left, or given up."""

    def __init__(self, before: asyncio.Event | None) -> None:
        self._before = before
        self.over = asyncio.Event()

    async def __aenter__(self) -> None:
        if self._before is not None:
            await self._before.wait()
            self._before = None  # or the chain would keep every turn of the shard alive

    async def __aexit__(self, *_: object) -> None:
        self.over.set()

    def give_up(self) -> None:
        """Lets those behind pass."""
        self.over.set()

"""The order of a shard's concurrent frames."""

from __future__ import annotations

import asyncio

from kcl_worker.record import Turn


class Turns:
    """Lets a shard's records announce their outcomes in the order of their arrival."""

    def __init__(self) -> None:
        self._last: asyncio.Event | None = None

    def next(self) -> Turn:
        """Gives the turn after all turns that were given before."""
        before, self._last = self._last, asyncio.Event()
        return Turn(before, self._last)

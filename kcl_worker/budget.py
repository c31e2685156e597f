"""Memory that the frames of a task share, whatever shard they come from."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Grant:
    """A part of a budget; it goes back with `release`, or at the end of a `with`."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self._budget, self._amount = budget, amount

    @property
    def amount(self) -> int:
        """How much of the budget it still holds."""
        return self._amount

    def shrink(self, amount: int) -> None:
        """Gives back what is above an amount."""
        if amount < self._amount:
            self._budget._give_back(self._amount - amount)
            self._amount = amount

    def release(self, *_: object) -> None:
        """Gives all of it back; a second time changes nothing."""
        self.shrink(0)

    def __enter__(self) -> Grant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Budget:
    """So many bytes, given out in the order in which they are asked for.

    Nobody overtakes: a heavy frame waits until enough is back, light ones behind it wait with it, and none starves.

    Args:
        capacity: In bytes.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Bytes that are given out."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many wait for their part."""
        return len(self._waiting)

    async def take(self, amount: int) -> Grant:
        """Waits for its turn and for room; who asks for more than there is gets all of it."""
        amount = min(amount, self.capacity)
        if self._waiting or self._used + amount > self.capacity:
            await self._wait(amount)
        else:
            self._used += amount
        return Grant(self, amount)

    async def _wait(self, amount: int) -> None:
        place = amount, asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._waiting:
                self._waiting.remove(place)
                self._serve()
            else:  # cancelled between getting it and waking up
                self._give_back(amount)
            raise

    def _give_back(self, amount: int) -> None:
        self._used -= amount
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._used + self._waiting[0][0] <= self.capacity:
            amount, future = self._waiting.popleft()
            self._used += amount
            if not future.cancelled():
                future.set_result(None)

"""Calls that may hang, beside the event loop: a service that stalls delays its own answers and nothing else."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from consumer.errors import ConsumerError
from consumer.events import READERS
from consumer.frames import Frames
from contract.message import ResultMessage

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# Pictures that are fetched at once, and how long one may take with its wait for a turn.
PICTURES_AT_ONCE: Final = 8
PICTURE_SECONDS: Final = 10.0
# Of frames and of events' pictures, of those who read many events, and a few more.
CONNECTIONS: Final = 2 * PICTURES_AT_ONCE + 2 * READERS + 8
# Attempts of a call: the page asks again with the next frame.
ATTEMPTS: Final = 2
# Whole messages that wait to be fetched; results beyond are shown by their counts.
WHOLE_WAITING: Final = 100


async def in_thread(work: Callable[[], Result]) -> Result:
    """Runs blocking work in a thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(settled: Callable[[Any], None], value: object) -> None:
        if not future.done():
            settled(value)

    def run() -> None:
        settled: Callable[[Any], None] = future.set_result
        value: Result | Exception
        try:
            value = work()
        except Exception as error:
            settled, value = future.set_exception, error
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(settle, settled, value)

    threading.Thread(target=run, name="beside", daemon=True).start()
    return await future


class Turns:
    """Runs blocking work beside the event loop, a few at once.

    Args:
        at_once: How many.
        seconds: How long one may take with its wait for a turn.
    """

    def __init__(self, at_once: int, seconds: float) -> None:
        self._turns, self._seconds = asyncio.Semaphore(at_once), seconds

    async def run(self, work: Callable[[], Result]) -> Result:
        """Gives what the work gives.

        Raises:
            TimeoutError: If it is not done in time.
        """
        async with asyncio.timeout(self._seconds):
            await self._turns.acquire()
            # It keeps its turn until its call ends, however long ago its browser gave it up.
            running = asyncio.ensure_future(in_thread(work))
            running.add_done_callback(self._done)
            return await asyncio.shield(running)

    def _done(self, work: asyncio.Future[Any]) -> None:
        self._turns.release()
        if not work.cancelled():
            work.exception()  # whoever asked has heard of it, or has left


class Pictures:
    """Fetches annotated frames, a few at once."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._turns = Turns(PICTURES_AT_ONCE, PICTURE_SECONDS)

    async def get(self, result: ResultMessage) -> bytes:
        """Gives the JPEG of a result.

        Raises:
            TimeoutError: If the bucket does not answer in time.
            ConsumerError: As in `Frames.picture`.
        """
        return await self._turns.run(lambda: self._frames.picture(result))


class WholeMessages:
    """Fetches whole messages in a thread of its own, and passes all results on.

    Args:
        show: Given each result; one whose whole message cannot be had in its short form.
    """

    def __init__(self, frames: Frames, show: Callable[[ResultMessage], None]) -> None:
        self._frames, self._show = frames, show
        self._waiting: queue.Queue[ResultMessage] = queue.Queue(WHOLE_WAITING)

    def add(self, result: ResultMessage) -> None:
        """Passes a result on, now or when its whole message is there."""
        if result.whole_key is None:
            self._show(result)
            return
        try:
            self._waiting.put_nowait(result)
        except queue.Full:
            self._show(result)

    def run(self) -> None:
        """Fetches for ever."""
        while True:
            result = self._waiting.get()
            try:
                result, _ = self._frames.whole(result)
            except ConsumerError as error:
                logger.warning("%s", error)
            self._show(result)

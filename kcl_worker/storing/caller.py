"""Calls to AWS that repeat on passing errors and end the worker on all others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from cloud.errors import ERRORS, code_of, describe, may_pass
from cloud.retry import full_jitter
from kcl_worker.doing import doing
from kcl_worker.errors import ServiceError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BACKOFF_BASE_SECONDS: Final = 0.1
BACKOFF_CAP_SECONDS: Final = 20.0
# The number of connections, and so of calls in flight, of one worker.
CALLS_IN_FLIGHT: Final = 16


class Caller:
    """Makes blocking calls in threads, and repeats them while their service fails."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CALLS_IN_FLIGHT, thread_name_prefix="aws")

    async def __call__(self, what: str, call: Callable[[], Result]) -> Result:
        """Waits for the call to succeed; says so meanwhile.

        Args:
            what: The call's name in the log, its service first, such as `s3 put s3://bucket/key`.

        Raises:
            ServiceError: If no retry can help.
        """
        with doing(what.partition(" ")[0]):
            return await self._repeat(what, call)

    async def _repeat(self, what: str, call: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                return await loop.run_in_executor(self._threads, call)
            except ERRORS as error:
                if not may_pass(error):
                    raise ServiceError(f"{what}: {describe(error)}") from None
                attempt += 1
                logger.warning("%s failed, attempt %d: %s", what, attempt, code_of(error))
                await back_off(attempt)


async def back_off(attempt: int) -> None:
    """Sleeps with full jitter: up to 0.2 s after the first attempt, doubling up to 20 s."""
    await asyncio.sleep(full_jitter(attempt, BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS))

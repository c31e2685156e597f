"""Keeps the daemon going through an outage at its start.

KCL gives up after twenty attempts to reach its tables and the stream (`Scheduler.initialize`), a constant. That is a
minute and a half, and would restart tasks for as long as an outage lasts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from cloud.clients import client
from cloud.errors import ERRORS, may_pass
from kcl_worker.doing import doing
from kcl_worker.kcl.daemon import Daemon
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
# What the daemon needs at its start.
SERVICES: Final = ("dynamodb", "kinesis")


class Keeper:
    """Starts the daemon again when it leaves because a service is away.

    Args:
        daemon: It has been started.

    Attributes:
        began: Whether the daemon has ever begun its work. If it leaves then, that has another reason.
        waits: Whether the daemon has left and a service is waited for.
    """

    def __init__(self, settings: Settings, daemon: Daemon) -> None:
        self._settings, self._daemon = settings, daemon
        self._clients: dict[str, Any] = {}
        self._was_away = False  # since the daemon's start
        self.waits = False
        self.began: Callable[[], bool] = lambda: False

    @property
    def alive(self) -> bool:
        """Whether the daemon runs, or will when a service is back."""
        return self._daemon.alive or self.waits

    async def run(self) -> int:
        """Passes the daemon's log on until it leaves for good; gives its exit status."""
        telling = asyncio.create_task(self._tell())
        try:
            while True:
                status = await self._daemon.run()
                if self.began():
                    return status
                self.waits = True
                # It may be back by now: the daemon gave up before.
                if await self._answer(*SERVICES) and not self._was_away:
                    self.waits = False
                    return status
                logger.warning("the KCL daemon gave up on a service that is away; it starts again when that is back")
                await self._wait_for(*SERVICES)
                self._was_away = False
                await self._daemon.start()
                self.waits = False
        finally:
            telling.cancel()

    async def _tell(self) -> None:
        """Says that a service is away, for as long as no shard can say it."""
        while not self.began():
            await self._wait_for(*SERVICES)
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_for(self, *services: str) -> None:
        for service in services:
            if await self._answer(service):
                continue
            with doing(service):
                await asyncio.sleep(LOOK_SECONDS)
                while not await self._answer(service):
                    await asyncio.sleep(LOOK_SECONDS)

    async def _answer(self, *services: str) -> bool:
        """Whether all of these answer, be it with a refusal."""
        for service in services:
            try:
                await asyncio.to_thread(self._ask, service)
            except ERRORS as error:
                if may_pass(error):
                    self._was_away = True
                    return False
        return True

    def _ask(self, service: str) -> None:
        if service not in self._clients:
            self._clients[service] = client(service, self._settings.aws_region)
        if service == "kinesis":
            self._clients[service].describe_stream_summary(StreamName=self._settings.kinesis_stream_name)
        else:
            self._clients[service].describe_table(TableName=self._settings.lease_table)

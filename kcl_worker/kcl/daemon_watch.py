"""Tells whether the daemon lives: its scheduler writes a report of this worker to DynamoDB every two seconds.

A JVM that hangs says nothing, and neither does an idle one. So this worker adds an attribute of its own to that report
now and then, and gets the report back. DynamoDB has then taken a write of ours; where it has had none of the daemon's
for the whole of that time, it is the daemon that stands still. While our write fails, it is DynamoDB.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from cloud.errors import ERRORS, code_of
from kcl_worker.doing import doing
from kcl_worker.kcl.signs import Standing
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

# Our attribute of a worker's report, beside KCL's, which changes its own alone (`WorkerMetricStatsDAO`).
SEEN: Final = "seen"
LOOKS: Final = 8
# Ten reports: fewer that are late say nothing.
LEAST_SECONDS: Final = 20.0
# A daemon makes its tables and their indexes before its first report.
START_SECONDS: Final = 600.0


class DaemonWatch:
    """Watches this worker's report.

    Args:
        clock: Monotonic time in seconds.

    Attributes:
        began: Whether the daemon has made a report.
        absent: Whether there is no daemon that could make one.
    """

    def __init__(self, settings: Settings, dynamodb: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._dynamodb, self._clock = settings, dynamodb, clock
        limit = max(settings.stuck_shard_seconds, LEAST_SECONDS)
        self.interval = limit / LOOKS
        # So that it is told within the limit.
        self._limit = limit - self.interval
        self._standing = Standing(clock, 2 * self.interval)
        self._first: str | None = None
        self.began = False
        self.absent: Callable[[], bool] = lambda: False

    def problem(self) -> str | None:
        """What is wrong with the daemon, if it stands still."""
        seconds = self._standing.seconds("report")
        if seconds < (self._limit if self.began else max(self._limit, START_SECONDS)):
            return None
        return f"the KCL daemon has made no report for {seconds:.0f} s, and DynamoDB takes ours"

    async def run(self) -> None:
        """Looks until cancelled. While DynamoDB fails, that is what this worker waits for."""
        while True:
            if not await self._look():
                with doing("dynamodb"):
                    await asyncio.sleep(self.interval)
                    while not await self._look():
                        await asyncio.sleep(self.interval)
            await asyncio.sleep(self.interval)

    async def _look(self) -> bool:
        try:
            await asyncio.to_thread(self.look)
        except ERRORS as error:
            self._standing.forget()
            logger.debug("the daemon's report was not looked at: %s", code_of(error))
            return False
        return True

    def look(self) -> None:
        """Looks once."""
        if self.absent():
            self._standing.forget()
            return
        report = self._touch()
        if self._first is None:
            self._first = report
        self.began = self.began or report != self._first
        self._standing.look({"report": report})

    def _touch(self) -> str:
        """The time of the report, after ours was added to it; empty if there is none."""
        missing = self._dynamodb.exceptions
        with suppress(missing.ConditionalCheckFailedException, missing.ResourceNotFoundException):
            answer = self._dynamodb.update_item(
                TableName=self._settings.report_table,
                Key={"wid": {"S": self._settings.worker_id}},
                UpdateExpression=f"SET {SEEN} = :now",
                ConditionExpression="attribute_exists(wid)",
                ExpressionAttributeValues={":now": {"N": str(int(time.time()))}},
                ReturnValues="ALL_NEW",
            )
            return str(answer["Attributes"].get("lut", {}).get("N", ""))
        return ""

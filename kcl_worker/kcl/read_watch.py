"""Tells a shard that Kinesis does not give from one that nobody takes.

A record processor hears of every read, empty ones included; one that hears nothing has nothing to be read, or hangs. So
this worker asks for a silent shard's records itself. Where Kinesis answers that, again and again, and the record
processor goes on hearing nothing, then something between the two stands still.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from cloud.errors import ERRORS, code_of
from kcl_worker.kcl.shards import Shard, ShardBoard
from kcl_worker.kcl.signs import Standing

logger = logging.getLogger(__name__)

# A shard allows five reads a second, of which the daemon takes four.
LOOK_SECONDS: Final = 5.0
# KCL gives a read up after 30 s, and lets a shard that it hands over rest for 30 s.
LEAST_SECONDS: Final = 60.0


class ReadWatch:
    """Watches the silent ones of the shards that this worker holds."""

    def __init__(self, stream: str, kinesis: Any, board: ShardBoard, stuck_seconds: float) -> None:
        self._stream, self._kinesis, self._board = stream, kinesis, board
        self._limit = max(stuck_seconds, LEAST_SECONDS)
        self._standing = Standing(board.clock, 2 * LOOK_SECONDS)

    def stuck(self) -> list[str]:
        """Shards that Kinesis has given us for so long, and nobody else has taken."""
        return [shard.shard_id for shard in self._silent() if self._standing.seconds(shard.shard_id) >= self._limit]

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Looks once."""
        silent = {shard.shard_id: shard.reads for shard in self._silent()}
        self._standing.look({shard_id: reads for shard_id, reads in silent.items() if self._answers(shard_id)})

    def _silent(self) -> list[Shard]:
        now = self._board.clock()
        return [shard for shard in self._board.held() if shard.silent(now) is not None]

    def _answers(self, shard_id: str) -> bool:
        """Whether Kinesis lets us read a shard now."""
        try:
            iterator = self._kinesis.get_shard_iterator(
                StreamName=self._stream, ShardId=shard_id, ShardIteratorType="LATEST"
            )["ShardIterator"]
            self._kinesis.get_records(ShardIterator=iterator, Limit=1)
        except ERRORS as error:
            logger.debug("%s cannot be read: %s", shard_id, code_of(error))
            return False
        return True

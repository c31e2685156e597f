"""What is said on the queues of a source's frames, events and tallies."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

from contract.frame import parse_time
from contract.identity import frame_key
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage
from contract.source_settings import SourceSettings
from kcl_worker.doing import doing
from kcl_worker.messages import Messages
from kcl_worker.record import Turn
from kcl_worker.storing.event_sink import EventSink
from kcl_worker.storing.sinks import About, FrameStore, MessageQueue
from kcl_worker.tracking.story import Told

logger = logging.getLogger(__name__)

Sending = asyncio.Future[None]
"""Done when SQS has a message."""


class Telling:
    """Says what was found.

    Args:
        results: Where tallies go.
        sink: Where events go.
        frames: Keeps what is too long for a queue.
        settings_of: What is wanted of a source.
    """

    def __init__(
        self,
        messages: Messages,
        results: MessageQueue,
        sink: EventSink,
        frames: FrameStore,
        settings_of: Callable[[str], SourceSettings],
    ) -> None:
        self._messages, self._results, self._sink = messages, results, sink
        self._frames, self._settings_of = frames, settings_of

    async def enqueue(
        self, queue: MessageQueue, body: ResultMessage | QuarantineMessage | SkippedMessage, record: bytes
    ) -> Sending:
        """Enqueues a record's message.

        A shard's frames are announced in their order, which the times in their messages show. The queue may still
        deliver them in another order: it is a standard queue and may refuse some messages of a batch.
        """
        text = body.to_json()
        if isinstance(body, ResultMessage) and not await queue.fits(text):
            text = await self._shorten(record, body, text)
        return queue.enqueue(text)

    async def tell(self, source: str, told: Told, wanted: SourceSettings, order: Turn) -> None:
        """Sends what no frame but the time has completed.

        Args:
            order: Among what is told of the source: an event's end must not be stored before its start.
        """
        async with order:
            await self.events(source, told, wanted, lambda frame_id: None)
        await self.tallies(source, told)

    async def events(
        self,
        source: str,
        told: Told,
        wanted: SourceSettings,
        snapshot: Callable[[str], tuple[bytes, About] | None],
    ) -> None:
        """Sends a source's events; `snapshot` gives the picture of a frame, if that frame is at hand."""
        for change in told.changes:
            event = self._messages.event(source, change, wanted)
            picture = snapshot(event.best.frame_id)
            if event.snapshot_key and picture and change.phase != "end":
                await self._sink.show(event.snapshot_key, *picture)
            if change.phase != "better":
                await self._sink.send(event, wanted.keep_days)

    async def tallies(self, source: str, told: Told) -> None:
        sent = [self._results.enqueue(self._messages.tally(source, tally).to_json()) for tally in told.tallies]
        with doing("sqs"):
            await asyncio.gather(*sent)

    async def _shorten(self, record: bytes, body: ResultMessage, text: str) -> str:
        """Stores a message that is too long for the queue beside its frame; gives what is sent instead."""
        short = body.shortened(frame_key(body.frame_id, parse_time(body.captured_at)))
        key = str(short.whole_key)
        logger.info(
            "message too long for the queue: %d bytes", len(text), extra={"frame_id": body.frame_id, "key": key}
        )
        about = About(hashlib.sha256(record).hexdigest(), self._settings_of(body.source).keep_days)
        await self._frames.put(key, text.encode(), "application/json", about)
        return short.to_json()

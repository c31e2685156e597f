"""Where events go: the bucket's index, a queue, and a bus of EventBridge."""

from __future__ import annotations

import logging
from typing import Any, Final

from contract.event import EVENT_SOURCE, EventMessage
from kcl_worker.errors import ServiceError
from kcl_worker.storing.caller import Caller, back_off
from kcl_worker.storing.sinks import About, FrameStore, MessageQueue

logger = logging.getLogger(__name__)

# What PutEvents says of an entry that it will take another time.
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
PASSING: Final = frozenset({"InternalFailure", "InternalException", "ThrottlingException", "ServiceUnavailable"})


class EventBus:
    """A bus of EventBridge."""

    def __init__(self, client: Any, name: str, caller: Caller) -> None:
        self._client, self._name, self._call = client, name, caller

    async def put(self, event: EventMessage) -> None:
        """Returns when the bus has taken the event, however long that takes.

        Raises:
            ServiceError: If it refuses the event, or the bus is missing or forbidden.
        """
        entry = {
            "EventBusName": self._name,
            "Source": EVENT_SOURCE,
            "DetailType": f"event {event.phase}",
            "Detail": event.to_json(),
        }
        what, attempt = f"events put {self._name}", 0
        while True:
            answer = await self._call(what, lambda: self._client.put_events(Entries=[entry]))
            if not answer.get("FailedEntryCount"):
                return
            # The call itself has succeeded: each entry has a fate of its own.
            [failed] = answer["Entries"]
            if failed.get("ErrorCode") not in PASSING:
                raise ServiceError(f"{what}: {failed.get('ErrorCode')}: {failed.get('ErrorMessage')}")
            attempt += 1
            logger.warning("%s failed, attempt %d: %s", what, attempt, failed["ErrorCode"])
            await back_off(attempt)


class EventSink:
    """Keeps each event's latest message in the bucket, then sends the message on.

    Args:
        queue, bus: None where there is none.
    """

    def __init__(self, store: FrameStore, queue: MessageQueue | None, bus: EventBus | None) -> None:
        self._store, self._queue, self._bus = store, queue, bus

    async def send(self, event: EventMessage, keep_days: int | None) -> None:
        """Returns when all have it. Who reads the message finds the index and the snapshot.

        Raises:
            ServiceError: If one of them is missing or forbidden.
        """
        await self._store.put(event.index_key, event.to_json().encode(), "application/json", About(keep_days=keep_days))
        sent = self._queue.enqueue(event.to_json()) if self._queue else None
        if self._bus:
            await self._bus.put(event)
        if sent:
            await sent

    async def show(self, key: str, jpeg: bytes, about: About) -> None:
        """Stores an event's snapshot in place of the one before."""
        await self._store.put(key, jpeg, "image/jpeg", about)

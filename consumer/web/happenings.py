"""The events of late, as the page and the API give them. They are read from the bucket, so a restart forgets none."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from consumer.errors import ConsumerError
from consumer.events import Changes, EventIndex, Wanted, started
from contract.event import EventMessage
from contract.frame import parse_time

logger = logging.getLogger(__name__)

# What is kept at hand; older ones are read when they are asked for.
AT_HAND: Final = timedelta(hours=24)
MAX_EVENTS: Final = 5000
MAX_BYTES: Final = 16 * 1024 * 1024
LOOK_SECONDS: Final = 2.0
# A window that the page asks for; each of its hours is a request of the bucket.
MAX_WINDOW: Final = timedelta(days=8)


class Happenings:
    """Events by their place in the bucket; safe to use from several threads.

    Args:
        tell: Told of each new and each changed event, as JSON.
        clock: The time, in UTC.

    Attributes:
        problem: Why events cannot be read; empty if they can.
    """

    def __init__(
        self,
        index: EventIndex,
        tell: Callable[[str], None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._index, self._tell, self._clock = index, tell, clock
        self._lock = threading.Lock()
        self._events: OrderedDict[str, EventMessage] = OrderedDict()
        self._bytes = 0
        # From when on all events are at hand; nothing is yet.
        self._since = datetime.max.replace(tzinfo=UTC)
        # From when on none was given up.
        self._floor = datetime.min.replace(tzinfo=UTC)
        self.problem = ""

    def run(self, stop: threading.Event) -> None:
        """Looks for new events until `stop` is set."""
        since = self._clock() - AT_HAND
        changes = Changes(self._index, since, self._clock)
        first = True
        while not stop.is_set():
            try:
                for event in changes.look():
                    self._add(event)
                    if not first:
                        self._tell(json.dumps({"type": "event", "event": entry(event)}))
                if first:
                    with self._lock:
                        self._since = max(since, self._floor)
                first, self.problem = False, ""
            except ConsumerError as error:
                if not self.problem:
                    logger.warning("events cannot be read: %s", error)
                self.problem = str(error)
            stop.wait(LOOK_SECONDS)

    def _add(self, event: EventMessage) -> None:
        with self._lock:
            before = self._events.pop(event.index_key, None)
            self._bytes += _size(event) - (_size(before) if before else 0)
            self._events[event.index_key] = event
            while len(self._events) > MAX_EVENTS or self._bytes > MAX_BYTES:
                key = min(self._events, key=lambda key: self._events[key].started_at)
                oldest = self._events.pop(key)
                self._bytes -= _size(oldest)
                self._floor = parse_time(oldest.started_at) + timedelta(microseconds=1)
                if self._since < self._floor:
                    self._since = self._floor

    def latest(self, wanted: Wanted, limit: int) -> list[EventMessage]:
        """The latest of the wanted events, the last one first. Blocks while the bucket is read for older ones.

        Raises:
            ConsumerError: If that cannot be read.
        """
        with self._lock:
            since = self._since
            found = sorted(filter(wanted.takes, self._events.values()), key=started, reverse=True)
        found = [event for event in found if parse_time(event.started_at) >= since][:limit]
        if wanted.since < since and len(found) < limit:
            older = Wanted(
                wanted.since, min(since, wanted.until), wanted.source, wanted.kind, wanted.rule, wanted.zone,
                wanted.class_name,
            )  # fmt: skip
            found += self._index.latest(older, limit - len(found))
        return found

    def get(self, path: str) -> EventMessage:
        """An event by its place. Blocks while the bucket is read.

        Raises:
            ConsumerError: If there is none, or it cannot be read.
        """
        key = f"events/{path}.json"
        with self._lock:
            event = self._events.get(key)
        return event or self._index.read(key)


def _size(event: EventMessage) -> int:
    """Bytes of memory, about: a few objects and the texts whose length nothing else limits."""
    return 2048 + sum(map(len, event.classes)) + sum(map(len, event.tracks))


def entry(event: EventMessage) -> dict[str, Any]:
    """An event as the page and the API give it: where its objects lie is nobody's business."""
    told = event.model_dump(
        mode="json",
        by_alias=True,
        include={
            "phase", "event_id", "event", "rule", "source", "zone", "line", "direction", "started_at", "ended_at",
            "captured_at", "frames", "most", "classes", "best",
        },
    )  # fmt: skip
    # The message leaves out what does not apply.
    return (
        dict.fromkeys(("zone", "line", "direction"))
        | told
        | {
            "path": event.index_key.removeprefix("events/").removesuffix(".json"),
            "has_picture": event.snapshot_key is not None,
        }
    )

"""What the page shows: the latest results of each source, and who wants to hear of new ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from contract.frame import parse_time
from contract.message import ResultMessage

# Results that are kept to scroll back in, of all sources; sources that are kept, the longest silent give way.
HISTORY: Final = 5000
MAX_SOURCES: Final = 256
# Classes that are counted of a source, the most frequent: a hostile message may name any number of new ones.
MAX_CLASSES: Final = 200
# A source's rate is that of so many seconds.
RATE_SECONDS: Final = 10.0
# Events that wait for a browser that does not keep up; then it misses some.
BACKLOG: Final = 200


@dataclass(slots=True)
class Source:
    """A camera, as the page knows it."""

    name: str
    latest: ResultMessage
    seen_at: float
    latency: float
    frames: int = 0
    arrivals: deque[float] = field(default_factory=deque)
    classes: Counter[str] = field(default_factory=Counter)

    def rate(self, now: float) -> float:
        """Frames a second of late."""
        while self.arrivals and self.arrivals[0] < now - RATE_SECONDS:
            self.arrivals.popleft()
        return len(self.arrivals) / RATE_SECONDS


class Board:
    """Results as they come; safe to add to from another thread than the event loop's.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._history: OrderedDict[str, ResultMessage] = OrderedDict()
        self._listeners: dict[asyncio.Queue[dict[str, Any]], asyncio.AbstractEventLoop] = {}

    def add(self, result: ResultMessage) -> None:
        """Takes a result, once for each frame, and tells whoever listens."""
        now = self._clock()
        latency = (datetime.now(UTC) - parse_time(result.captured_at)).total_seconds()
        with self._lock:
            source = self._sources.get(result.source)
            if source is None:
                source = self._sources[result.source] = Source(result.source, result, now, latency)
            source.latest, source.seen_at, source.latency = result, now, latency
            source.frames += 1
            source.arrivals.append(now)
            source.classes.update(item.class_name for item in result.summary)
            if len(source.classes) > MAX_CLASSES:
                source.classes = Counter(dict(source.classes.most_common(MAX_CLASSES)))
            self._sources.move_to_end(result.source)
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
            self._history[result.frame_id] = result
            if len(self._history) > HISTORY:
                self._history.popitem(last=False)
            listeners = list(self._listeners.items())
            event = {"type": "result", "source": self._status(source, now), "result": entry(result)}
        for queue, loop in listeners:
            loop.call_soon_threadsafe(_offer, queue, event)

    def frame(self, frame_id: str) -> ResultMessage | None:
        """A result that is still kept."""
        with self._lock:
            return self._history.get(frame_id)

    def sources(self) -> list[dict[str, Any]]:
        """All sources by name."""
        now = self._clock()
        with self._lock:
            return [self._status(source, now) for _, source in sorted(self._sources.items())]

    def source(self, name: str) -> dict[str, Any] | None:
        """One source."""
        with self._lock:
            source = self._sources.get(name)
            return None if source is None else self._status(source, self._clock())

    def detections(
        self, *, source: str | None, class_name: str | None, before: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Results, the latest first.

        Args:
            source, class_name: Only those of it, or with it.
            before: A frame id; only results that came before that one.
        """
        with self._lock:
            results = list(reversed(self._history.values()))
        if before is not None:
            place = next((number for number, result in enumerate(results) if result.frame_id == before), len(results))
            results = results[place + 1 :]
        chosen = (
            result
            for result in results
            if (source is None or result.source == source)
            and (class_name is None or any(item.class_name == class_name for item in result.summary))
        )
        return [entry(result) for result, _ in zip(chosen, range(limit), strict=False)]

    @contextmanager
    def listen(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Events from now on, for the running event loop."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(BACKLOG)
        with self._lock:
            self._listeners[queue] = asyncio.get_running_loop()
        try:
            yield queue
        finally:
            with self._lock:
                del self._listeners[queue]

    @staticmethod
    def _status(source: Source, now: float) -> dict[str, Any]:
        return {
            "name": source.name,
            "frames": source.frames,
            "fps": round(source.rate(now), 2),
            "latency_seconds": round(source.latency, 3),
            "lag_seconds": None if source.latest.lag_ms is None else source.latest.lag_ms / 1000,
            "silent_seconds": round(now - source.seen_at, 1),
            "classes": dict(source.classes.most_common(20)),
            "latest_frame_id": source.latest.frame_id,
        }


def entry(result: ResultMessage) -> dict[str, Any]:
    """A result as the page and the API give it: where the frame lies is nobody's business."""
    return result.model_dump(
        mode="json",
        by_alias=True,
        include={
            "frame_id", "source", "frame_index", "captured_at", "processed_at", "detections_count", "summary",
            "image_width", "image_height", "model", "inference_ms", "lag_ms", "zones", "lines",
        },
    )  # fmt: skip


def _offer(queue: asyncio.Queue[dict[str, Any]], event: dict[str, Any]) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)

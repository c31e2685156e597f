"""What the page shows: the latest results of each source, and who wants to hear of new ones."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from consumer.results import NoResult
from contract.frame import parse_time
from contract.message import ResultMessage, SkippedMessage, Summary

# Results that are kept to scroll back in, of all sources, in number and in bytes of memory; sources that are kept, the
# longest silent give way.
HISTORY: Final = 5000
HISTORY_BYTES: Final = 64 * 1024 * 1024
MAX_SOURCES: Final = 256
# Classes that are counted of a source, the most frequent: a hostile message may name any number of new ones.
MAX_CLASSES: Final = 200
# A source's rate is that of so many seconds.
RATE_SECONDS: Final = 10.0
# Producers send under one name at a time where their frames come side by side for longer than a queue mixes them up, or
# than a producer takes to start again. Of the sessions of a source, the latest are kept.
OVERLAP_SECONDS: Final = 5.0
MAX_SESSIONS: Final = 8
# Events that wait for a browser that does not keep up, in number and in bytes; then it misses some.
BACKLOG: Final = 200
BACKLOG_BYTES: Final = 8 * 1024 * 1024
# What a result takes besides its text and its classes' names, measured: 4 KiB.
_RESULT_BYTES: Final = 4096
END: Final = '{"type":"end"}'


@dataclass(slots=True)
class Source:
    """A camera, as the page knows it."""

    name: str
    latest_frame_id: str = ""
    latest_picture_id: str = ""
    lag_ms: int | None = None
    seen_at: float = 0.0
    latency: float = 0.0
    frames: int = 0
    skipped: int = 0
    arrivals: deque[float] = field(default_factory=deque)
    classes: Counter[str] = field(default_factory=Counter)
    sessions: dict[str, tuple[float, float]] = field(default_factory=dict)

    def rate(self, now: float) -> float:
        """Frames a second of late."""
        while self.arrivals and self.arrivals[0] < now - RATE_SECONDS:
            self.arrivals.popleft()
        return len(self.arrivals) / RATE_SECONDS

    def add(self, result: ResultMessage, now: float) -> None:
        """Takes its next result."""
        self.latest_frame_id, self.lag_ms, self.seen_at = result.frame_id, result.lag_ms, now
        if result.key is not None:
            self.latest_picture_id = result.frame_id
        self.latency = (datetime.now(UTC) - parse_time(result.captured_at)).total_seconds()
        self.frames += 1
        self.arrivals.append(now)
        session = result.frame_id.rpartition("/")[0]
        self.sessions[session] = self.sessions.pop(session, (now, now))[0], now
        if len(self.sessions) > MAX_SESSIONS:
            del self.sessions[next(iter(self.sessions))]
        self.count(Counter(item.class_name for item in result.summary))

    def count(self, classes: Mapping[str, int]) -> None:
        """Counts objects by class."""
        self.classes.update(classes)
        if len(self.classes) > MAX_CLASSES:
            self.classes = Counter(dict(self.classes.most_common(MAX_CLASSES)))

    def senders(self, now: float) -> int:
        """How many producers send under its name at a time."""
        recent = [(first, last) for first, last in self.sessions.values() if last > now - RATE_SECONDS]
        if not recent:
            return 0
        newest = max(first for first, _ in recent)
        return max(1, sum(first < newest and last - newest > OVERLAP_SECONDS for first, last in recent) + 1)

    def status(self, now: float) -> dict[str, Any]:
        """As the page and the API give it."""
        return {
            "name": self.name,
            "frames": self.frames,
            "skipped": self.skipped,
            "senders": self.senders(now),
            "fps": round(self.rate(now), 2),
            "latency_seconds": round(self.latency, 3),
            "lag_seconds": None if self.lag_ms is None else self.lag_ms / 1000,
            "silent_seconds": round(now - self.seen_at, 1),
            "classes": dict(self.classes.most_common(20)),
            "latest_frame_id": self.latest_frame_id,
            "latest_picture_id": self.latest_picture_id,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A result of the past. Its text takes a tenth of the memory of its parsed detections.

    Attributes:
        text: The JSON that the page and the API give.
        picture: The result without its lists, to fetch its picture by.
    """

    text: str
    classes: frozenset[str]
    picture: ResultMessage

    @classmethod
    def of(cls, result: ResultMessage) -> Kept:
        """Keeps a result."""
        classes = frozenset(item.class_name for item in result.summary)
        return cls(entry(result), classes, result.model_copy(update={"summary": (), "zones": None, "lines": None}))

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return _RESULT_BYTES + sys.getsizeof(self.text) + sum(map(sys.getsizeof, self.classes))


class Listener:
    """Events that wait for one browser, as JSON; the oldest give way to newer ones."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[str] = deque()
        self._bytes = 0
        self._come = asyncio.Event()

    async def get(self) -> str:
        """Waits for the next event."""
        while not self._waiting:
            self._come.clear()
            await self._come.wait()
        return self._pop()

    def tell(self, event: str) -> None:
        """Takes an event from any thread."""
        self._loop.call_soon_threadsafe(self.offer, event)

    def offer(self, event: str) -> None:
        """Takes an event in the event loop's own thread."""
        self._waiting.append(event)
        self._bytes += len(event)
        while len(self._waiting) > 1 and (len(self._waiting) > BACKLOG or self._bytes > BACKLOG_BYTES):
            self._pop()
        self._come.set()

    def _pop(self) -> str:
        event = self._waiting.popleft()
        self._bytes -= len(event)
        return event


class Board:
    """Results as they come; safe to add to from another thread than the event loop's.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._history: OrderedDict[str, Kept] = OrderedDict()
        self._history_bytes = 0
        self._listeners: set[Listener] = set()
        self._ended = False

    def add(self, result: ResultMessage) -> None:
        """Takes a result, once for each frame, and tells whoever listens."""
        now, kept = self._clock(), Kept.of(result)
        with self._lock:
            source = self._known(result.source)
            source.add(result, now)
            self._keep(result.frame_id, kept)
            listeners, status = list(self._listeners), json.dumps(source.status(now))
        for listener in listeners:
            listener.tell(f'{{"type":"result","source":{status},"result":{kept.text}}}')

    def count(self, message: NoResult) -> None:
        """Takes frames that have no result: their source is not silent."""
        with self._lock:
            source = self._known(message.source)
            source.seen_at = self._clock()
            if isinstance(message, SkippedMessage):
                source.skipped += 1
            else:
                source.frames += message.frames
                source.count(message.classes)
            status = json.dumps(source.status(self._clock()))
        self.tell(f'{{"type":"source","source":{status}}}')

    def tell(self, text: str) -> None:
        """Tells whoever listens of something else.

        Args:
            text: JSON, with a `type`.
        """
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.tell(text)

    def end(self) -> None:
        """Tells whoever listens, now or later, that nothing more comes."""
        with self._lock:
            self._ended = True
            listeners = list(self._listeners)
        for listener in listeners:
            listener.tell(END)

    def frame(self, frame_id: str) -> ResultMessage | None:
        """A result that is still kept, without its lists."""
        with self._lock:
            kept = self._history.get(frame_id)
        return kept.picture if kept else None

    def entry(self, frame_id: str) -> dict[str, Any] | None:
        """A result that is still kept, as the API gives it."""
        with self._lock:
            kept = self._history.get(frame_id)
        return json.loads(kept.text) if kept else None

    def summary(self, frame_id: str) -> tuple[Summary, ...]:
        """What is known to be in a frame."""
        found = self.entry(frame_id)
        return tuple(Summary.model_validate(item) for item in found["summary"]) if found else ()

    def sources(self) -> list[dict[str, Any]]:
        """All sources by name."""
        now = self._clock()
        with self._lock:
            return [source.status(now) for _, source in sorted(self._sources.items())]

    def source(self, name: str) -> dict[str, Any] | None:
        """One source."""
        with self._lock:
            source = self._sources.get(name)
            return None if source is None else source.status(self._clock())

    def detections(
        self, *, source: str | None, class_name: str | None, before: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Results, the latest first.

        Args:
            source, class_name: Only those of it, or with it.
            before: A frame id; only results that came before that one.
        """
        with self._lock:
            results = list(reversed(self._history.items()))
        if before is not None:
            place = next((number for number, (frame_id, _) in enumerate(results) if frame_id == before), len(results))
            results = results[place + 1 :]
        chosen = (
            kept
            for _, kept in results
            if (source is None or kept.picture.source == source) and (class_name is None or class_name in kept.classes)
        )
        return [json.loads(kept.text) for kept, _ in zip(chosen, range(limit), strict=False)]

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """Events from now on, for the running event loop; `END` is the last."""
        listener = Listener()
        with self._lock:
            self._listeners.add(listener)
            if self._ended:
                listener.offer(END)
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _known(self, name: str) -> Source:
        """A source, which was seen now; the one that was not for longest may give way."""
        source = self._sources.setdefault(name, Source(name))
        self._sources.move_to_end(name)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        return source

    def _keep(self, frame_id: str, kept: Kept) -> None:
        before = self._history.pop(frame_id, None)
        self._history_bytes += kept.size - (before.size if before else 0)
        self._history[frame_id] = kept
        while len(self._history) > 1 and (len(self._history) > HISTORY or self._history_bytes > HISTORY_BYTES):
            _, oldest = self._history.popitem(last=False)
            self._history_bytes -= oldest.size


def entry(result: ResultMessage) -> str:
    """A result as the page and the API give it, in JSON: where the frame lies is nobody's business."""
    told = result.model_dump_json(
        by_alias=True,
        include={
            "frame_id", "source", "frame_index", "captured_at", "processed_at", "detections_count", "summary",
            "image_width", "image_height", "model", "inference_ms", "lag_ms", "zones", "lines",
        },
    )  # fmt: skip
    return f'{told[:-1]},"stored":{json.dumps(result.key is not None)}}}'

"""One source on its way to the stream: a capture thread, a bounded queue and counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from contract import Metadata
from producer.clock import HostClock
from producer.encoding import Encoder
from producer.errors import PictureError, ProducerError
from producer.motion import ChangeGate
from producer.picture import Picture, Source
from producer.rate import Rate

QUEUE_FRAMES: Final = 30
# The longest time until a capture that waits for room notices that it should stop.
STOP_POLL_SECONDS: Final = 0.2


@dataclass(slots=True)
class Counts:
    """Counts of a source's pictures by outcome; `broken` ones cannot be read, and `bytes` are those of sent records.

    Attributes:
        reconnects: How often a camera was reached again.
        unsent: Those that were still queued when there was no more time.
        unanswered: 1 if the first of them was sent and no answer says what became of it: the stream may have taken it.
    """

    captured: int = 0
    broken: int = 0
    reconnects: int = 0
    unchanged: int = 0
    dropped: int = 0
    refused: int = 0
    unsent: int = 0
    unanswered: int = 0
    sent: int = 0
    bytes: int = 0
    throttled: int = 0


class Lane:
    """Captures a source in its own thread.

    A file's frames wait for room in the queue, so that none is dropped. A live source's oldest frame
    makes room for the newest; the gap shows in the frames' index.

    Args:
        source_id: The frames' source and partition key.
        rate: When pictures are taken; None takes them as they come.
        limit: The greatest number of pictures; None sets no limit.
        loop: Whether a source that ends starts again.
        gate: Decides which pictures become frames; None takes all.
        tell: Called with a line for each picture that cannot be read, of a live source for the first one, and when a
            camera goes away and comes back.
        wake: Set when a frame is queued or the lane ends.
    """

    def __init__(
        self,
        source_id: str,
        source: Source,
        encoder: Encoder,
        *,
        wake: threading.Event,
        rate: Rate | None = None,
        limit: int | None = None,
        loop: bool = False,
        gate: ChangeGate | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.source_id = source_id
        self.session = uuid4().hex[:16]
        self.counts = Counts()
        self.error: ProducerError | None = None
        self.broken: PictureError | None = None
        self.complete = False
        self.head_attempts = 0
        self.not_before = 0.0
        # Whether the stream may have taken the head, though no answer says so.
        self.unanswered = False
        self._source, self._encoder = source, encoder
        self._rate = rate or Rate(0, live=source.live)
        self._limit, self._loop, self._gate = limit, loop, gate
        self._tell, self._told = tell, set[str]()
        source.tell = self._say
        self._queue: deque[bytes] = deque()
        self._room = threading.Condition()
        self._wake = wake
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._capture, name=f"capture {source_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        """Ends the capture soon; queued frames stay."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Waits so long for the end of the capture.

        A thread that comes back from native code while the interpreter ends would abort the process.
        """
        if self._thread.ident is not None:
            self._thread.join(seconds)

    @property
    def live(self) -> bool:
        """Whether the source is a live one."""
        return self._source.live

    @property
    def away(self) -> bool:
        """Whether its live source cannot be reached just now."""
        return self._source.away

    @property
    def absent(self) -> bool:
        """Whether its source has never been reached. Nobody waits for such a one once all others have ended."""
        return self._source.away and not self.counts.captured

    @property
    def capturing(self) -> bool:
        """Whether more frames may come; once it is false, only queued frames are left.

        A capture that was asked to stop may hang where nothing can wake it, such as in the look-up of a camera's name.
        """
        if self._stop.is_set():
            with self._room:  # whatever is queued just now
                return False
        return not self._ended

    def close(self) -> None:
        """Counts what is still queued, which nobody sends any more."""
        self.counts.unsent, self.counts.unanswered = len(self._queue), int(self.unanswered)

    def head(self) -> bytes | None:
        """The next frame to send; it stays in the queue until `accept`."""
        return self._queue[0] if self._queue else None

    def accept(self, size: int) -> None:
        """Removes the head, which the stream has taken."""
        with self._room:
            self._queue.popleft()
            # The capture is not woken for each frame, because that costs more than reading a file's frame.
            if len(self._queue) <= QUEUE_FRAMES // 2:
                self._room.notify()
        self.head_attempts, self.not_before, self.unanswered = 0, 0.0, False
        self.counts.sent += 1
        self.counts.bytes += size

    def _capture(self) -> None:
        try:
            self._capture_all()
        except ProducerError as error:
            self.error = type(error)(f"{self.source_id}: {error}")
        except Exception as error:
            self.error = ProducerError(f"{self.source_id}: {describe(error)}")
        finally:
            self._ended = True
            self._wake.set()

    def _capture_all(self) -> None:
        index, clock = 0, HostClock()
        while True:
            empty = True
            for picture in self._pictures():
                if self._stop.is_set():
                    return
                self.counts.reconnects = self._source.reconnects
                if self._limit is not None and index >= self._limit:
                    self.complete = True
                    return
                now = time.monotonic()
                self._rate.adjust(len(self._queue), self.counts.throttled, now)
                wait = self._rate.wait(picture, now)
                if wait is None:
                    empty = False
                    continue
                if wait and self._stop.wait(wait):
                    return
                if self._gate and not self._gate.passes(picture):
                    self.counts.unchanged += 1
                    empty = False
                    continue
                captured_at = picture.captured_at or datetime.fromtimestamp(clock.now(), UTC)
                metadata = Metadata(self.source_id, self.session, index, captured_at)
                try:
                    data = self._encoder.encode(picture, metadata)
                except PictureError as error:
                    self._leave_out(error)
                    continue
                empty = False
                index += 1
                self.counts.captured += 1
                if data is None:
                    self.counts.refused += 1
                elif not self._enqueue(data):
                    return
            if not self._loop or empty:
                self.complete = True
                return

    def _pictures(self) -> Iterator[Picture]:
        """The source's pictures; what it says at their end of those that are missing is told and counted."""
        try:
            yield from self._source.pictures()
        except PictureError as error:
            self._leave_out(error)

    def _leave_out(self, error: PictureError) -> None:
        self.counts.broken += error.number
        self.broken = self.broken or error
        if str(error) not in self._told and not (self.live and self._told):  # a loop meets it again
            self._told.add(str(error))
            self._say(str(error))

    def _say(self, text: str) -> None:
        self._tell(f"{self.source_id}: {text}")

    def _enqueue(self, data: bytes) -> bool:
        with self._room:
            if self._stop.is_set():
                self.counts.captured -= 1  # the sender does not wait for it
                return False
            if self._source.live:
                # The head may be in flight already, so the frame behind it is dropped.
                if len(self._queue) >= QUEUE_FRAMES:
                    del self._queue[1]
                    self.counts.dropped += 1
            else:
                while len(self._queue) >= QUEUE_FRAMES:
                    if self._stop.is_set():
                        self.counts.captured -= 1  # the file can be sent again; nothing is lost
                        return False
                    self._room.wait(STOP_POLL_SECONDS)
            self._queue.append(data)
        self._wake.set()
        return True


def describe(error: Exception) -> str:
    """An error that nobody expected, in one line. PyAV's text would hold the address, and that a password."""
    return f"{type(error).__name__}: {error.strerror if isinstance(error, OSError) else error}"

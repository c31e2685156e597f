"""One source on its way to the stream: a thread that captures, a bounded queue, its counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from contract import Metadata
from producer.encoding import Encoder
from producer.errors import ProducerError
from producer.motion import ChangeGate
from producer.picture import Source
from producer.rate import Rate

QUEUE_FRAMES: Final = 30
# How soon a capture that waits for room notices that it should stop.
STOP_POLL_SECONDS: Final = 0.2


@dataclass(slots=True)
class Counts:
    """What has become of a source's frames; bytes are of records sent."""

    captured: int = 0
    unchanged: int = 0
    dropped: int = 0
    refused: int = 0
    sent: int = 0
    bytes: int = 0
    throttled: int = 0


class Lane:
    """Captures a source in its own thread.

    A file's frames wait for room in the queue, so none is dropped. A live source's oldest frame
    makes room for the newest; the gap shows in the frames' index.

    Args:
        source_id: The frames' source and partition key.
        rate: When pictures go; None: as they come.
        limit: Pictures at the most.
        loop: Whether a source that ends begins again.
        gate: Decides which pictures are worth a frame; None takes all.
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
    ) -> None:
        self.source_id = source_id
        self.session = uuid4().hex[:16]
        self.counts = Counts()
        self.error: ProducerError | None = None
        self.complete = False
        self.head_attempts = 0
        self.not_before = 0.0
        self._source, self._encoder = source, encoder
        self._rate = rate or Rate(0, live=source.live)
        self._limit, self._loop, self._gate = limit, loop, gate
        self._queue: deque[bytes] = deque()
        self._room = threading.Condition()
        self._wake = wake
        self._stop = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._capture, name=f"capture {source_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def request_stop(self) -> None:
        """Ends the capture soon; what is queued stays. Safe in a signal handler: takes no lock."""
        self._stop.set()

    @property
    def live(self) -> bool:
        """Whether the source is a live one."""
        return self._source.live

    @property
    def capturing(self) -> bool:
        """Whether more frames may come; once it is false, `head` tells what is left."""
        return not self._ended

    def head(self) -> bytes | None:
        """The next frame to be sent; it stays until `accept`."""
        return self._queue[0] if self._queue else None

    def accept(self, size: int) -> None:
        """The stream has taken the head."""
        with self._room:
            self._queue.popleft()
            # Not for each frame: waking a thread costs more than a file's frame.
            if len(self._queue) <= QUEUE_FRAMES // 2:
                self._room.notify()
        self.head_attempts, self.not_before = 0, 0.0
        self.counts.sent += 1
        self.counts.bytes += size

    def _capture(self) -> None:
        try:
            self._capture_all()
        except ProducerError as error:
            self.error = type(error)(f"{self.source_id}: {error}")
        except Exception as error:
            self.error = ProducerError(f"{self.source_id}: {type(error).__name__}: {error}")
        finally:
            self._ended = True
            self._wake.set()

    def _capture_all(self) -> None:
        index = 0
        while True:
            empty = True
            for picture in self._source.pictures():
                empty = False
                if self._stop.is_set():
                    return
                if self._limit is not None and index >= self._limit:
                    self.complete = True
                    return
                now = time.monotonic()
                self._rate.adjust(len(self._queue), self.counts.throttled, now)
                wait = self._rate.wait(picture, now)
                if wait is None:
                    continue
                if wait and self._stop.wait(wait):
                    return
                if self._gate and not self._gate.passes(picture):
                    self.counts.unchanged += 1
                    continue
                captured_at = picture.captured_at or datetime.now(UTC)
                metadata = Metadata(self.source_id, self.session, index, captured_at)
                index += 1
                self.counts.captured += 1
                data = self._encoder.encode(picture, metadata)
                if data is None:
                    self.counts.refused += 1
                elif not self._enqueue(data):
                    return
            if not self._loop or empty:
                self.complete = True
                return

    def _enqueue(self, data: bytes) -> bool:
        with self._room:
            if self._source.live:
                # The head may be on its way already, so the one behind it gives way.
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

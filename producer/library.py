"""The producer as a library, for programs that have their own pictures."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from contract.errors import FrameError
from contract.frame import check_source
from producer.encoding import Encoder
from producer.errors import ProducerError
from producer.kinesis import connect, record_limit
from producer.knock import Knock
from producer.lane import QUEUE_FRAMES, Lane
from producer.picture import Image, Picture, Source
from producer.sender import Sender

logger = logging.getLogger(__name__)

# The longest time until a program that waits for room hears that the sender has failed.
POLL_SECONDS: Final = 0.2


class Producer:
    """Puts a program's pictures on a stream.

        with Producer("cv2kinesis", sources=["door"]) as producer:
            for image in my_camera():            # BGR, uint8, (height, width, 3), or a JPEG's bytes
                producer.send("door", image)

    A source's frames stay in order, through every retry. Leaving the block waits until the stream has taken all frames.

    Args:
        stream: The stream's name.
        sources: Names of the cameras: 1 to 128 characters of `A-Z a-z 0-9 . _ -` each.
        region: None for the SDK's default.
        endpoint_url: The address of a Kinesis that is not on AWS.
        quality: JPEG quality, 1 to 100; None leaves JPEGs as they are and encodes pixels at 80.
        width: Wider pictures are scaled down to this width.

    Raises:
        ProducerError: If the stream is missing, forbidden or out of reach.
        ValueError: If a name is none that a camera may have.
    """

    def __init__(
        self,
        stream: str,
        sources: Sequence[str],
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        quality: int | None = None,
        width: int | None = None,
    ) -> None:
        if isinstance(sources, str):
            raise ValueError(f"sources: a list of names is needed, not the name {sources!r}")
        for source in sources:
            _check(source)
        kinesis = connect(endpoint_url, region)
        encoder = Encoder(quality, width, record_limit(kinesis, stream))
        wake = threading.Event()
        self._inlets = {source: _Inlet() for source in sources}
        self._lanes = {source: Lane(source, inlet, encoder, wake=wake) for source, inlet in self._inlets.items()}
        self._knock = Knock(kinesis, stream, logger.warning)
        self._sender = Sender(kinesis, stream, list(self._lanes.values()), wake, flowing=self._knock.flowing)
        self._error: ProducerError | None = None
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        for lane in self._lanes.values():
            lane.start()
        self._thread.start()

    def send(self, source: str, picture: Image | bytes, captured_at: datetime | None = None) -> None:
        """Queues a picture; waits while the queue is full.

        Args:
            captured_at: When the picture was taken, with a time zone; None for now.

        Raises:
            ProducerError: If the stream takes no more frames, an earlier picture of the source has failed, or the
                producer is closed.
            KeyError: If the source was not named at the start.
            ValueError: If the time has no zone.
        """
        if captured_at and captured_at.tzinfo is None:
            raise ValueError(f"captured_at {captured_at}: a time with a time zone is needed")
        item = Picture(captured_at=captured_at and captured_at.astimezone(UTC))
        if isinstance(picture, bytes):
            item.jpeg = picture
        else:
            item.image = picture
        while True:
            self._raise_error(self._lanes[source])
            if self._inlets[source].put(item, POLL_SECONDS):
                return

    def sent(self, source: str) -> int:
        """The number of a source's frames that the stream has taken."""
        return self._lanes[source].counts.sent

    def close(self) -> None:
        """Waits until the stream has taken all queued frames.

        Raises:
            ProducerError: If the stream does not take them, or a source has failed.
        """
        for inlet in self._inlets.values():
            inlet.close()
        self._thread.join()
        self._raise_error(*self._lanes.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            with self._knock:
                self._sender.run()
        except ProducerError as error:
            self._error = error
            for lane in self._lanes.values():
                lane.request_stop()

    def _raise_error(self, *lanes: Lane) -> None:
        for error in (self._error, *(lane.error or lane.broken for lane in lanes)):
            if error:
                raise error


def _check(source: str) -> None:
    try:
        check_source(source)
    except FrameError as error:
        raise ValueError(f"sources: {error.detail}") from None


class _Inlet(Source):
    """A source that hands the pictures that a program pushes to the lane that pulls them."""

    def __init__(self) -> None:
        self._queue: deque[Picture] = deque()
        self._closed = False
        self._change = threading.Condition()

    def put(self, picture: Picture, seconds: float) -> bool:
        """Queues a picture; False if there is no room for so long.

        Raises:
            ProducerError: If it has been closed.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._closed or len(self._queue) < QUEUE_FRAMES, seconds):
                return False
            if self._closed:
                raise ProducerError("the producer is closed")
            self._queue.append(picture)
            self._change.notify_all()
        return True

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()

    def pictures(self) -> Iterator[Picture]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                picture = self._queue.popleft()
                self._change.notify_all()
            yield picture

"""Which frames show an event: stored ones, else those of the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from consumer.bucket import Bucket
from consumer.clips.retained import MAX_BYTES, BoxedShots, retained_shots
from consumer.clips.shots import Shots, Window
from consumer.clips.stored import stored_shots
from consumer.errors import ConsumerError, GoneError
from consumer.source_settings import SourceParameters
from contract.event import EventMessage
from contract.message import Summary


@dataclass(frozen=True, slots=True)
class Stream:
    """Where original frames are, and what their sources hide.

    Attributes:
        kinesis: A client that does not retry by itself.
        max_bytes: Memory that the frames of a window may take.
        found: Gives what is known to be in a frame, by its id; None: nothing is.
    """

    kinesis: Any
    name: str
    sources: SourceParameters
    max_bytes: int = MAX_BYTES
    found: Callable[[str], Sequence[Summary]] | None = None

    def shots(self, event: EventMessage, window: Window, *, boxes: bool) -> Shots:
        """The original frames of a window. Settings that cannot be read may hide anything: then there are none.

        Raises:
            ConsumerError: If the source's settings hide what the frames show, or settings or stream cannot be read.
        """
        privacy = self.sources.read(event.source).settings.privacy
        shots = retained_shots(self.kinesis, self.name, event.source, window, privacy, self.max_bytes)
        return BoxedShots(shots, self.found) if boxes and self.found else shots


def shots_of(
    bucket: Bucket, stream: Callable[[], Stream], event: EventMessage, window: Window, *, boxes: bool
) -> Shots:
    """Finds the frames of a window.

    Args:
        stream: Called if the stream is needed.
        boxes: Whether the worker's boxes are wanted; without them the stream's frames are.

    Raises:
        GoneError: If there are none.
        ConsumerError: If they cannot be read or must not be shown.
    """
    stored = stored_shots(bucket, event, window) if boxes else None
    # A source that stores samples alone has a few.
    if stored and 2 * len(stored) >= event.frames:
        return stored
    try:
        original = stream().shots(event, window, boxes=boxes)
    except ConsumerError:
        if stored:
            return stored
        raise
    if original or stored:
        return original or stored  # type: ignore[return-value]
    raise GoneError(f"event {event.event_id}: none of its frames is stored, and the stream holds none any more")

"""Which frames show an event: stored ones, else those of the stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consumer.bucket import Bucket
from consumer.clips.retained import retained_shots
from consumer.clips.shots import Shots, Window
from consumer.clips.stored import stored_shots
from consumer.errors import ConsumerError, GoneError
from consumer.source_settings import SourceParameters
from contract.event import EventMessage


@dataclass(frozen=True, slots=True)
class Stream:
    """Where original frames are, and what their sources hide.

    Attributes:
        kinesis: A client that does not retry by itself.
    """

    kinesis: Any
    name: str
    sources: SourceParameters

    def shots(self, event: EventMessage, window: Window) -> Shots:
        """The original frames of a window. Settings that cannot be read may hide anything: then there are none.

        Raises:
            ConsumerError: If the source's settings hide what the frames show, or settings or stream cannot be read.
        """
        privacy = self.sources.read(event.source).settings.privacy
        return retained_shots(self.kinesis, self.name, event.source, window, privacy)


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
        original = stream().shots(event, window)
    except ConsumerError:
        if stored:
            return stored
        raise
    if original or stored:
        return original or stored  # type: ignore[return-value]
    raise GoneError(f"event {event.event_id}: none of its frames is stored, and the stream holds none any more")

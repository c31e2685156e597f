"""The message of an event: one when it starts, one when it ends, both with the same id.

The latest message of an event also lies in the bucket under `index_key`, and its best picture under `snapshot_key`:

    events/2026-01-01/13/door/0123456789abcdef.json     by the hour in which it started, and by its source
    events/2026-01-01/13/door/0123456789abcdef.jpg
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from contract.event_rules import EventKind
from contract.identity import day_and_hour
from contract.parts import (
    SCHEMA_VERSION,
    Box,
    Count,
    EventKey,
    Fraction,
    FrameKey,
    Message,
    SequenceNumber,
    SnapshotKey,
    Time,
    is_none,
)
from contract.shapes import Name

# Under which EventBridge knows them.
EVENT_SOURCE: Final = "cv2kinesis"

EventId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Best(Message):
    """The frame that shows an event best: its object is large, certain and sharp."""

    frame_id: str = Field(max_length=512)
    captured_at: Time
    class_name: str | None = Field(default=None, alias="class", max_length=128)
    conf: Fraction | None = None
    bbox: Box | None = Field(default=None, description="of its object; null where no object is meant, as with `silent`")


class EventMessage(Message):
    """What happened at a source. Fields may be added; a change of meaning raises `schema_version`."""

    kind: Literal["event"] = "event"
    phase: Literal["start", "end"] = Field(description="every event has both, and both may come twice")
    event_id: EventId = Field(description="the same in all messages of the event, after replays too")
    event: EventKind
    rule: Name = Field(description="name of the source's rule that it comes of")
    source: str = Field(max_length=128)
    stream_name: str = Field(max_length=128)
    bucket: str = Field(max_length=255)
    zone: Name | None = Field(default=None, exclude_if=is_none)
    line: Name | None = Field(default=None, exclude_if=is_none)
    direction: Literal["in", "out"] | None = Field(default=None, exclude_if=is_none, description="of a crossing")
    started_at: Time = Field(description="time of the first frame that shows it")
    ended_at: Time | None = Field(description="time of the last frame that shows it; null while it goes on")
    first_frame_id: str = Field(max_length=512, description="the first frame that shows it")
    last_frame_id: str = Field(max_length=512, description="the last one so far")
    first_key: FrameKey | None = Field(description="S3 key of the first frame, if it is stored")
    last_key: FrameKey | None = Field(description="S3 key of the last frame so far, if it is stored")
    frames: Count = Field(description="frames that show it, so far")
    most: Count = Field(description="the most objects at once")
    classes: tuple[str, ...] = Field(max_length=64, description="classes of its objects, by name")
    tracks: tuple[str, ...] = Field(max_length=64, description="its objects, the first 64")
    best: Best
    snapshot_key: SnapshotKey | None = Field(description="S3 key of the best frame; null if there is no picture")
    index_key: EventKey = Field(description="S3 key of the event's latest message")
    shard_id: str = Field(max_length=128, description="of the frame that the message is made of")
    sequence_number: SequenceNumber
    captured_at: Time = Field(description="of that frame")
    sent_at: Time
    schema_version: Literal[1] = SCHEMA_VERSION


def event_id(source: str, rule: str, first_frame_id: str, track: str = "") -> str:
    """An event's id: a pure function of its source, its rule, its first frame and, where it is one object's, its track.

    64 bits of SHA-256: of a million events, two are alike once in forty million times.
    """
    return hashlib.sha256("\n".join((source, rule, first_frame_id, track)).encode()).hexdigest()[:16]


def event_folder(started_at: datetime, source: str | None = None) -> str:
    """Where the events lie that started in one hour, at one source or at all of them."""
    folder = f"events/{day_and_hour(started_at)}/"
    return f"{folder}{source}/" if source else folder

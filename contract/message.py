"""The messages on the queue of results: a result for each frame, a skipped message for each frame that was skipped
because of its age, a tally of the frames that are not announced one by one; and the notice of a quarantined record.

`python -m contract.message` writes their JSON Schemas and that of a source's settings beside this file; a test compares
them with the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from contract.errors import Reason
from contract.event import EventId, EventMessage
from contract.parts import (
    SCHEMA_VERSION,
    Box,
    Count,
    Fraction,
    FrameKey,
    Message,
    QuarantineKey,
    SequenceNumber,
    Time,
    WholeKey,
    is_none,
)
from contract.source_settings import SourceSettings

SCHEMAS: Final = Path(__file__).parent

# Above every message but a result that lists its detections: 16 zones, 16 lines and the longest names take half of it.
LONGEST_SHORT_BYTES: Final = 16 * 1024
MAX_SHORT_EVENTS: Final = 64


Origin = Literal["detected", "tracked"]


def whole_key(frame_key: str) -> str:
    """Where the whole of a message lies that is too long for its queue: beside its frame."""
    return frame_key.removesuffix(".jpg") + ".json"


class Summary(Message):
    """One detected object."""

    class_name: str = Field(alias="class", max_length=128, examples=["person"])
    conf: Fraction
    bbox: Box = Field(description="x, y of the top left corner, width, height, as fractions of the image")
    track_id: str | None = Field(
        default=None,
        max_length=64,
        exclude_if=is_none,
        description="the same in all frames of an object; missing for an object that is not tracked, or not yet",
        examples=["3f9a2b61c0-17"],
    )
    origin: Origin | None = Field(
        default=None,
        exclude_if=is_none,
        description="whether it was detected in this frame, or is where it has to be by now, as sure as its last "
        "detection was; missing where every frame is looked at",
    )


class ZoneCount(Message):
    """How many objects stand in a zone of the picture."""

    name: str = Field(max_length=64)
    count: Count
    classes: dict[str, Count] = Field(
        description="objects by class; empty in a message that names a `whole_key`", examples=[{"person": 2}]
    )


class LineCount(Message):
    """How many tracked objects have crossed a line. `in` is from left to right, seen from its start to its end."""

    name: str = Field(max_length=64)
    inward: Count = Field(alias="in", description="crossings in this frame")
    outward: Count = Field(alias="out", description="crossings in this frame")
    in_total: Count = Field(description="crossings since the source's tracks began")
    out_total: Count


class Hidden(Message):
    """What privacy takes away from a picture."""

    masks: Count = Field(description="areas that are black, in which nothing is detected")
    classes: tuple[str, ...] = Field(description="classes whose objects are blurred or filled")


class ResultMessage(Message):
    """What was found in a frame. Fields may be added; a change of meaning raises `schema_version`."""

    bucket: str = Field(max_length=255)
    key: FrameKey | None = Field(
        description="S3 key of the annotated frame; null if the source's settings do not have it stored"
    )
    frame_index: Count | None = Field(description="null for a plain JPEG")
    detections_count: Count
    summary: tuple[Summary, ...] = Field(description="empty in a message that names a `whole_key`")
    timestamp: Time = Field(description="equals processed_at")
    stream_name: str = Field(max_length=128)
    schema_version: Literal[1] = SCHEMA_VERSION
    bbox_format: Literal["xywh_norm_topleft"] = "xywh_norm_topleft"
    frame_id: str = Field(max_length=512, description="the same when the frame is processed again")
    source: str = Field(max_length=128)
    captured_at: Time
    processed_at: Time
    shard_id: str = Field(max_length=128)
    sequence_number: SequenceNumber
    image_width: Count = Field(gt=0)
    image_height: Count = Field(gt=0)
    model: str = Field(max_length=128, examples=["yolov8n"])
    inference_ms: float = Field(
        ge=0, description="time of the network, with preparing its input and reading its output"
    )
    lag_ms: Count | None = Field(
        default=None,
        exclude_if=is_none,
        description="how far the worker was behind the shard's end when it read the frame",
    )
    zones: tuple[ZoneCount, ...] | None = Field(
        default=None, exclude_if=is_none, description="missing unless the source has zones"
    )
    lines: tuple[LineCount, ...] | None = Field(
        default=None, exclude_if=is_none, description="missing unless the source has lines"
    )
    events: tuple[EventId, ...] | None = Field(
        default=None, exclude_if=is_none, description="events that go on in this frame; missing if there are none"
    )
    hidden: Hidden | None = Field(
        default=None, exclude_if=is_none, description="what the picture does not show; missing if it shows all"
    )
    whole_key: WholeKey | None = Field(
        default=None,
        exclude_if=is_none,
        description="S3 key of the whole message, beside the frame; missing unless it is too long for the queue",
    )

    @model_validator(mode="after")
    def _check_whole_key(self) -> Self:
        if self.key is not None and self.whole_key not in (None, whole_key(self.key)):
            raise ValueError(f"whole_key: {whole_key(self.key)} lies beside the frame")
        return self

    def shortened(self, key: str) -> ResultMessage:
        """What is sent of a message that is too long for its queue: the counts, and the key of the whole. It takes less
        than `LONGEST_SHORT_BYTES`.

        Args:
            key: The frame's, even if it is not stored.
        """
        zones = self.zones and tuple(zone.model_copy(update={"classes": {}}) for zone in self.zones)
        events = self.events and self.events[:MAX_SHORT_EVENTS]
        return self.model_copy(update={"summary": (), "zones": zones, "events": events, "whole_key": whole_key(key)})


class QuarantineMessage(Message):
    """A record that could not be processed; its bytes are kept under `key`."""

    bucket: str = Field(max_length=255)
    key: QuarantineKey
    reason: Reason
    detail: str = Field(max_length=512)
    frame_id: str = Field(max_length=512)
    source: str = Field(max_length=128)
    size: Count = Field(description="bytes of the record")
    stream_name: str = Field(max_length=128)
    shard_id: str = Field(max_length=128)
    sequence_number: SequenceNumber
    arrived_at: Time
    quarantined_at: Time
    schema_version: Literal[1] = SCHEMA_VERSION


class SkippedMessage(Message):
    """A frame that was too old to process under `LAG_POLICY=skip-stale`; this message is on the queue of results."""

    kind: Literal["skipped"] = "skipped"
    frame_id: str = Field(max_length=512)
    frame_index: Count | None = Field(description="null for a plain JPEG")
    source: str = Field(max_length=128)
    stream_name: str = Field(max_length=128)
    shard_id: str = Field(max_length=128)
    sequence_number: SequenceNumber
    captured_at: Time
    arrived_at: Time
    skipped_at: Time
    age_seconds: float = Field(ge=0, description="seconds since the frame's arrival on the stream")
    schema_version: Literal[1] = SCHEMA_VERSION


class TallyMessage(Message):
    """The frames of a source's session that arrived within one minute and have no message of their own, counted.

    Those are all its frames from the first to the last one without a message. A frame is in one tally at the most; a
    tally that comes twice has the same `tally_id` and the same counts.
    """

    kind: Literal["tally"] = "tally"
    tally_id: str = Field(max_length=512, description="the first frame's id, the same when it is sent again")
    source: str = Field(max_length=128)
    stream_name: str = Field(max_length=128)
    shard_id: str = Field(max_length=128, description="that of the last frame")
    minute: Time = Field(description="the minute in which the frames arrived on the stream")
    first_frame_id: str = Field(max_length=512)
    last_frame_id: str = Field(max_length=512)
    first_index: Count | None = Field(description="null for plain JPEGs")
    last_index: Count | None = Field(description="null for plain JPEGs")
    frames: Count = Field(ge=1, description="how many frames it counts")
    frames_with_detections: Count
    stored: Count = Field(description="how many of them were stored by the frame's own decision or as a sample")
    classes: dict[str, Count] = Field(description="detections by class, summed over the frames")
    zones: dict[str, Count] = Field(description="by zone, the most objects at once")
    lines: dict[str, tuple[Count, Count]] = Field(description="by line, crossings [in, out]")
    worst_latency_ms: Count = Field(description="from capture to the tally; the one count that a replay may change")
    sent_at: Time
    schema_version: Literal[1] = SCHEMA_VERSION


def schema_files() -> dict[Path, str]:
    """Gives the JSON Schemas by the file that holds each."""
    models: dict[str, type[BaseModel]] = {
        "result-message": ResultMessage,
        "quarantine-message": QuarantineMessage,
        "skipped-message": SkippedMessage,
        "tally-message": TallyMessage,
        "event-message": EventMessage,
        "source-settings": SourceSettings,
    }
    return {
        SCHEMAS / f"{name}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()},
            indent=2,
        )
        + "\n"
        for name, model in models.items()
    }


if __name__ == "__main__":
    for path, text in schema_files().items():
        path.write_text(text)

"""The messages that consumers read: a result for each frame, a notice for each quarantined record, and a skipped
message for each frame that was skipped because of its age.

`python -m contract.message` writes their JSON Schemas and that of a source's settings beside this file; a test compares
them with the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from contract.errors import Reason
from contract.frame import parse_time
from contract.source_settings import SourceSettings

SCHEMA_VERSION: Final = 1
SCHEMAS: Final = Path(__file__).parent

# Kinesis gives the digits; KCL counts what the record held.
SequenceNumber = Annotated[
    str,
    Field(
        max_length=128,
        description="as Kinesis gives it; `.N` follows for the Nth frame after the first of an aggregated record",
        examples=["49600000000000000000000000000000000000000000000000000002", "4956.3"],
    ),
]
Fraction = Annotated[float, Field(ge=0, le=1)]
# Python's `$` also matches before a final line break; JSON Schema's does not.
_END = r"$(?!\n)"


def _existing(time: str) -> str:
    parse_time(time)
    return time


Time = Annotated[
    str,
    AfterValidator(_existing),
    Field(
        pattern=rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z{_END}",
        description="ISO 8601, UTC, microseconds",
        examples=["2026-01-01T00:00:00.000000Z"],
    ),
]
# Consumers make file names from keys, so no part of a key may be `.` or `..`.
_PART = r"(?!\.{1,2}/)[A-Za-z0-9._-]{1,128}/"
FrameKey = Annotated[str, Field(pattern=rf"^frames/(?:{_PART}){{1,4}}[A-Za-z0-9._-]{{1,220}}\.jpg{_END}")]
WholeKey = Annotated[str, Field(pattern=rf"^frames/(?:{_PART}){{1,4}}[A-Za-z0-9._-]{{1,220}}\.json{_END}")]
QuarantineKey = Annotated[str, Field(pattern=rf"^quarantine/(?:{_PART}){{1,4}}[A-Za-z0-9._-]{{1,220}}\.bin{_END}")]


# Above every message but a result that lists its detections: 16 zones, 16 lines and the longest names take half of it.
LONGEST_SHORT_BYTES: Final = 16 * 1024


def whole_key(frame_key: str) -> str:
    """Where the whole of a message lies that is too long for its queue: beside its frame."""
    return frame_key.removesuffix(".jpg") + ".json"


def _is_none(value: object) -> bool:
    return value is None


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, regex_engine="python-re")

    def to_json(self) -> str:
        """The body of the SQS message."""
        return self.model_dump_json(by_alias=True)


class Summary(_Message):
    """One detected object."""

    class_name: str = Field(alias="class", max_length=128, examples=["person"])
    conf: Fraction
    bbox: tuple[Fraction, Fraction, Fraction, Fraction] = Field(
        description="x, y of the top left corner, width, height, as fractions of the image"
    )
    track_id: str | None = Field(
        default=None,
        max_length=64,
        exclude_if=_is_none,
        description="the same in all frames of an object; missing for an object that is not tracked, or not yet",
        examples=["3f9a2b61c0-17"],
    )


class ZoneCount(_Message):
    """How many objects stand in a zone of the picture."""

    name: str = Field(max_length=64)
    count: int = Field(ge=0)
    classes: dict[str, int] = Field(
        description="objects by class; empty in a message that names a `whole_key`", examples=[{"person": 2}]
    )


class LineCount(_Message):
    """How many tracked objects have crossed a line. `in` is from left to right, seen from its start to its end."""

    name: str = Field(max_length=64)
    inward: int = Field(alias="in", ge=0, description="crossings in this frame")
    outward: int = Field(alias="out", ge=0, description="crossings in this frame")
    in_total: int = Field(ge=0, description="crossings since the source's tracks began")
    out_total: int = Field(ge=0)


class ResultMessage(_Message):
    """What was found in a frame. Fields may be added; a change of meaning raises `schema_version`."""

    bucket: str = Field(max_length=255)
    key: FrameKey = Field(description="S3 key of the annotated frame")
    frame_index: int | None = Field(ge=0, description="null for a plain JPEG")
    detections_count: int = Field(ge=0)
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
    image_width: int = Field(gt=0)
    image_height: int = Field(gt=0)
    model: str = Field(max_length=128, examples=["yolov8n"])
    inference_ms: float = Field(
        ge=0, description="time of the network, with preparing its input and reading its output"
    )
    lag_ms: int | None = Field(
        default=None,
        ge=0,
        exclude_if=_is_none,
        description="how far the worker was behind the shard's end when it read the frame",
    )
    zones: tuple[ZoneCount, ...] | None = Field(
        default=None, exclude_if=_is_none, description="missing unless the source has zones"
    )
    lines: tuple[LineCount, ...] | None = Field(
        default=None, exclude_if=_is_none, description="missing unless the source has lines"
    )
    whole_key: WholeKey | None = Field(
        default=None,
        exclude_if=_is_none,
        description="S3 key of the whole message, beside the frame; missing unless it is too long for the queue",
    )

    @model_validator(mode="after")
    def _check_whole_key(self) -> Self:
        if self.whole_key not in (None, whole_key(self.key)):
            raise ValueError(f"whole_key: {whole_key(self.key)} lies beside the frame")
        return self

    def shortened(self) -> ResultMessage:
        """What is sent of a message that is too long for its queue: the counts, and the key of the whole. It takes less
        than `LONGEST_SHORT_BYTES`."""
        zones = self.zones and tuple(zone.model_copy(update={"classes": {}}) for zone in self.zones)
        return self.model_copy(update={"summary": (), "zones": zones, "whole_key": whole_key(self.key)})


class QuarantineMessage(_Message):
    """A record that could not be processed; its bytes are kept under `key`."""

    bucket: str = Field(max_length=255)
    key: QuarantineKey
    reason: Reason
    detail: str = Field(max_length=512)
    frame_id: str = Field(max_length=512)
    source: str = Field(max_length=128)
    size: int = Field(ge=0, description="bytes of the record")
    stream_name: str = Field(max_length=128)
    shard_id: str = Field(max_length=128)
    sequence_number: SequenceNumber
    arrived_at: Time
    quarantined_at: Time
    schema_version: Literal[1] = SCHEMA_VERSION


class SkippedMessage(_Message):
    """A frame that was too old to process under `LAG_POLICY=skip-stale`; this message is on the queue of results."""

    kind: Literal["skipped"] = "skipped"
    frame_id: str = Field(max_length=512)
    frame_index: int | None = Field(ge=0, description="null for a plain JPEG")
    source: str = Field(max_length=128)
    stream_name: str = Field(max_length=128)
    shard_id: str = Field(max_length=128)
    sequence_number: SequenceNumber
    captured_at: Time
    arrived_at: Time
    skipped_at: Time
    age_seconds: float = Field(ge=0, description="seconds since the frame's arrival on the stream")
    schema_version: Literal[1] = SCHEMA_VERSION


def schema_files() -> dict[Path, str]:
    """Gives the JSON Schemas by the file that holds each."""
    models: dict[str, type[BaseModel]] = {
        "result-message": ResultMessage,
        "quarantine-message": QuarantineMessage,
        "skipped-message": SkippedMessage,
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

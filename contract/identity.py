"""A frame's identity: its id and its key in S3, a pure function of the frame and its position.

A replay therefore overwrites the same object and repeats the same `frame_id`.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from contract.errors import FrameError
from contract.frame import Metadata, check_source

# Of a partition key that is no source's name; of a million such keys, two are alike once in two million times.
HASH_DIGITS: Final = 15
# Metadata of a stored frame's object: when the frame was captured, as messages write it.
CAPTURED_AT: Final = "captured-at"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands on the stream.

    Attributes:
        shard_id: Such as `shardId-000000000000`.
        sequence_number: Unique in its shard; decimal digits.
        sub_sequence_number: Counts the records that the KPL aggregated into one, from 0.
        partition_key: As the producer gave it: any text of 1-256 characters.
        arrived_at: Kinesis's approximate arrival time, in UTC.
    """

    shard_id: str
    sequence_number: str
    partition_key: str
    arrived_at: datetime
    sub_sequence_number: int = 0

    @property
    def sequence(self) -> str:
        """The sequence number, with the sub-sequence number of an aggregated record."""
        sub = f".{self.sub_sequence_number}" if self.sub_sequence_number else ""
        return self.sequence_number + sub


@dataclass(frozen=True, slots=True)
class Identity:
    """A frame's names.

    Attributes:
        frame_id: `{source}/{session}/{index}`, or `{source}/{shard}/{sequence}` for a plain JPEG.
        source: The camera's name; for a plain JPEG made from its partition key.
        session: The producer's run; empty for a plain JPEG.
        index: None for a plain JPEG.
        captured_at: Arrival time for a plain JPEG, which a replay repeats.
        key: Where the annotated frame goes.
        quarantine_key: Where its original bytes go if it turns out to be undecodable.
    """

    frame_id: str
    source: str
    session: str
    index: int | None
    captured_at: datetime
    key: str
    quarantine_key: str


def identify(metadata: Metadata | None, position: Position) -> Identity:
    """Names a frame; a frame without metadata is named by its position on the stream."""
    if metadata is None:
        source = source_from_partition_key(position.partition_key)
        name = f"{position.shard_id}-{position.sequence}"
        frame_id = f"{source}/{position.shard_id}/{position.sequence}"
        session, index, time = "", None, position.arrived_at
    else:
        source, session, index, time = metadata.source, metadata.session, metadata.index, metadata.captured_at
        name = f"{session}-{index:09d}"
        frame_id = f"{source}/{session}/{index:09d}"
    place = _place(source, time, name)
    return Identity(frame_id, source, session, index, time, f"frames/{place}.jpg", f"quarantine/{place}.bin")


def frame_key(frame_id: str, captured_at: datetime) -> str:
    """The S3 key of a frame, from what its messages say of it.

    Raises:
        ValueError: If that is no frame's id.
    """
    source, series, number = frame_id.split("/")
    return f"frames/{_place(source, captured_at, f'{series}-{number}')}.jpg"


def _place(source: str, time: datetime, name: str) -> str:
    return f"{source}/{day_and_hour(time)}/{name}"


def day_and_hour(time: datetime) -> str:
    """The folder of an hour, such as `2026-01-01/13`. (`%Y` would write the year 1 as `1`.)"""
    return time.astimezone(UTC).isoformat()[:13].replace("T", "/")


def source_from_partition_key(partition_key: str) -> str:
    """Makes a source's name from any text.

    A text that is a name already stays as it is. In any other, characters that are not allowed become `_`, and a part
    of the text's hash is added, so that `door/1` and `door 1` are two sources and neither is `door_1`.
    """
    with suppress(FrameError):
        check_source(partition_key)
        return partition_key
    mark = "-" + hashlib.sha256(partition_key.encode(errors="surrogatepass")).hexdigest()[:HASH_DIGITS]
    return re.sub(r"[^A-Za-z0-9._-]", "_", partition_key)[: 128 - len(mark)] + mark

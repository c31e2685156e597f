"""Events as a worker stores them, and the frames around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from contract import Metadata, embed
from contract.event import EventMessage, event_folder, event_id
from contract.frame import format_time, parse_time
from contract.identity import CAPTURED_AT, frame_key
from local.resources import Resources

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def happening(
    bucket: str, started_at: datetime = NOON, seconds: float | None = 4.0, source: str = "door", **changes: Any
) -> EventMessage:
    """A visitor in a zone, 5 frames a second.

    Args:
        seconds: From its first to its last frame; None: it goes on, and has come to a second after its start.
        changes: Fields of the message.
    """
    index = round((started_at - NOON).total_seconds() * 5) % 10**9
    ended_at = started_at + timedelta(seconds=1 if seconds is None else seconds)
    last = index + round((ended_at - started_at).total_seconds() * 5)
    first_id, last_id = (f"{source}/s/{number:09d}" for number in (index, last))
    rule = changes.get("rule", "visitor")
    id_ = changes.get("event_id", event_id(source, rule, first_id))
    folder = event_folder(started_at, source)
    fields = {
        "phase": "start" if seconds is None else "end",
        "event_id": id_,
        "event": "appear",
        "rule": rule,
        "source": source,
        "stream_name": "cv2kinesis",
        "bucket": bucket,
        "zone": "step",
        "started_at": format_time(started_at),
        "ended_at": None if seconds is None else format_time(ended_at),
        "first_frame_id": first_id,
        "last_frame_id": last_id,
        "first_key": frame_key(first_id, started_at),
        "last_key": frame_key(last_id, ended_at),
        "frames": last - index + 1,
        "most": 1,
        "classes": ["person"],
        "tracks": ["3f9a2b61c0-17"],
        "best": {
            "frame_id": first_id,
            "captured_at": format_time(started_at),
            "class": "person",
            "conf": 0.9,
            "bbox": [0.1, 0.2, 0.3, 0.4],
        },
        "snapshot_key": f"{folder}{id_}.jpg",
        "index_key": f"{folder}{id_}.json",
        "shard_id": "shardId-000000000000",
        "sequence_number": "1",
        "captured_at": format_time(ended_at),
        "sent_at": format_time(ended_at),
    }
    return EventMessage.model_validate(fields | changes)


def store(resources: Resources, event: EventMessage, snapshot: bytes | None = None) -> EventMessage:
    """Puts an event where a worker puts it."""
    s3 = resources.client("s3")
    if snapshot is not None:
        s3.put_object(Bucket=resources.bucket, Key=event.snapshot_key, Body=snapshot)
    s3.put_object(Bucket=resources.bucket, Key=event.index_key, Body=event.to_json().encode())
    return event


def store_frame(resources: Resources, event: EventMessage, seconds: float, jpeg: bytes, session: str = "s") -> str:
    """Puts an annotated frame where a worker puts it, captured so long after an event's start; gives its key."""
    at = parse_time(event.started_at) + timedelta(seconds=seconds)
    index = int(event.first_frame_id.rpartition("/")[2]) + round(seconds * 5)
    key = frame_key(f"{event.source}/{session}/{index:09d}", at)
    metadata = {CAPTURED_AT: format_time(at)}
    resources.client("s3").put_object(Bucket=resources.bucket, Key=key, Body=jpeg, Metadata=metadata)
    return key


def send_frame(resources: Resources, event: EventMessage, seconds: float, jpeg: bytes) -> None:
    """Puts an original frame on the stream."""
    at = parse_time(event.started_at) + timedelta(seconds=seconds)
    index = int(event.first_frame_id.rpartition("/")[2]) + round(seconds * 5)
    data = embed(jpeg, Metadata(event.source, "s", index, at))
    resources.client("kinesis").put_record(StreamName=resources.stream, Data=data, PartitionKey=event.source)

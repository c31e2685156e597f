"""Follows one frame through every hop, with the time that each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import cv2

from audit import Inbox
from contract import Metadata, Position, embed, identify
from doctor.finding import Finding
from doctor.place import HopError, Place, ask
from producer.street import Street

SOURCE: Final = "doctor"
POLL_SECONDS: Final = 0.2


def trace(place: Place, patience: float) -> Iterator[Finding]:
    """Sends a frame of the source `doctor` and waits for its object and its message.

    Args:
        patience: Seconds to wait; a task that has to be started needs some minutes.
    """
    try:
        yield from _trace(place, patience)
    except HopError as error:
        yield error.finding


def _trace(place: Place, patience: float) -> Iterator[Finding]:
    captured = datetime.now(UTC)
    metadata = Metadata(SOURCE, uuid4().hex[:16], 0, captured)
    _, jpeg = cv2.imencode(".jpg", Street(7, 640, 360).frame(2.0))
    started = time.monotonic()
    put = ask(
        "frame sent", "kinesis:PutRecord",
        lambda: place.client("kinesis").put_record(
            StreamName=place.stream, Data=embed(jpeg.tobytes(), metadata), PartitionKey=SOURCE
        ),
        f"there is no stream {place.stream}",
    )  # fmt: skip
    identity = identify(metadata, Position(put["ShardId"], put["SequenceNumber"], SOURCE, captured))
    where = f"{identity.frame_id} on {put['ShardId']}"
    yield Finding("frame sent", "well", where, seconds=time.monotonic() - started)

    s3, sqs = place.client("s3"), place.client("sqs")
    deadline = started + patience
    stored = _wait(lambda: _has(s3, place.bucket, identity.key), deadline)
    if not stored:
        if _has(s3, place.bucket, identity.quarantine_key):
            yield Finding("frame stored", "wrong", "it was quarantined", "`consumer quarantine list` says why")
            return
        advice = "the worker is behind, or cannot write: look at leases and lag above, and at its log"
        yield Finding("frame stored", "wrong", f"no s3://{place.bucket}/{identity.key} after {patience:g} s", advice)
        return
    yield Finding("frame stored", "well", f"s3://{place.bucket}/{identity.key}", seconds=time.monotonic() - started)

    with Inbox(sqs, place.queue, identity.frame_id) as inbox:
        results = _wait(lambda: ask("frame announced", "sqs:ReceiveMessage", inbox.take, "no queue"), deadline)
    if results:
        result = results[0]
        says = f"{result.detections_count} objects, {result.inference_ms:.0f} ms in the network, model {result.model}"
        yield Finding("frame announced", "well", says, seconds=time.monotonic() - started)
    else:
        yield Finding("frame announced", "unsure", "its message was not seen", "another consumer may have taken it")


def _wait(look: Callable[[], Any], deadline: float) -> Any:
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def _has(s3: Any, bucket: str, key: str) -> bool:
    # Listing needs no permission beyond those checked before, and a missing object is not an error.
    listed = ask("frame stored", "s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key), "no bucket")
    return bool(listed.get("KeyCount"))

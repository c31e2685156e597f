"""Follows one frame through every hop, with the time that each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from audit import Inbox
from contract import Identity, Metadata, Position, embed, identify
from contract.message import SkippedMessage
from contract.source_settings import SourceSettings
from doctor.finding import Finding
from doctor.place import HopError, Place, ask

SOURCE: Final = "doctor"
POLL_SECONDS: Final = 0.2
# For the message of a frame that has no object.
SKIPPED_SECONDS: Final = 5.0
# What `store` and `announce` leave.
_KEPT: Final = {
    "detections": "only frames with something in them are kept",
    "events": "only events and their frames are kept",
    "none": "no frame is kept",
}
_QUARANTINED: Final = "it was quarantined", "`consumer quarantine list` says why"


def trace(place: Place, settings: SourceSettings, patience: float) -> Iterator[Finding]:
    """Sends a frame of the source `doctor`; waits for its object and its message, as far as all frames have them.

    Args:
        settings: Of all sources.
        patience: Seconds to wait; a task that has to be started needs some minutes.
    """
    try:
        yield from _trace(place, settings, patience)
    except HopError as error:
        yield error.finding


def _trace(place: Place, settings: SourceSettings, patience: float) -> Iterator[Finding]:
    import cv2  # here, as a look without a frame needs neither

    from producer.street import Street

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

    deadline = started + patience
    for hop, kept, follow in (
        ("frame stored", settings.store, _stored),
        ("frame announced", settings.announce, _announced),
    ):
        if kept == "all":
            finding = follow(place, identity, deadline, patience)
            if finding.verdict != "well":
                yield finding
                return
            yield replace(finding, seconds=time.monotonic() - started)
        else:
            advice = "`make smoke` follows frames whatever is kept of others"
            yield Finding(hop, "skipped", f"of all sources, {_KEPT[kept]}", advice)


def _stored(place: Place, identity: Identity, deadline: float, patience: float) -> Finding:
    s3, hop = place.client("s3"), "frame stored"
    if _wait(lambda: _has(s3, place.bucket, identity.key), deadline):
        return Finding(hop, "well", f"s3://{place.bucket}/{identity.key}")
    if _has(s3, place.bucket, identity.quarantine_key):
        return Finding(hop, "wrong", *_QUARANTINED)
    with Inbox(place.client("sqs"), place.queue, identity.frame_id) as inbox:
        messages = _wait(
            lambda: ask(hop, "sqs:ReceiveMessage", inbox.take, "no queue"), time.monotonic() + SKIPPED_SECONDS
        )
    if messages and isinstance(messages[0], SkippedMessage):
        return _skipped(hop, messages[0])
    advice = "the worker is behind, or cannot write: look at leases and lag above, and at its log"
    return Finding(hop, "wrong", f"no s3://{place.bucket}/{identity.key} after {patience:g} s", advice)


def _announced(place: Place, identity: Identity, deadline: float, patience: float) -> Finding:
    hop = "frame announced"
    with Inbox(place.client("sqs"), place.queue, identity.frame_id) as inbox:
        results = _wait(lambda: ask(hop, "sqs:ReceiveMessage", inbox.take, "no queue"), deadline)
    if not results and _has(place.client("s3"), place.bucket, identity.quarantine_key):
        return Finding(hop, "wrong", *_QUARANTINED)
    if not results:
        says = f"its message was not seen in {patience:g} s"
        return Finding(hop, "unsure", says, "another consumer may have taken it, or the worker is behind")
    result = results[0]
    if isinstance(result, SkippedMessage):
        return _skipped(hop, result)
    says = f"{result.detections_count} objects, {result.inference_ms:.0f} ms in the network, model {result.model}"
    return Finding(hop, "well", says)


def _skipped(hop: str, message: SkippedMessage) -> Finding:
    says = f"it was skipped, {message.age_seconds:.0f} s old when a worker read it (LAG_POLICY=skip-stale)"
    return Finding(hop, "unsure", says, "again while a task runs; if it comes again, the worker is behind")


def _wait(look: Callable[[], Any], deadline: float) -> Any:
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return found


def _has(s3: Any, bucket: str, key: str) -> bool:
    # Listing needs no permission beyond those checked before, and a missing object is not an error.
    listed = ask("frame stored", "s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key), "no bucket")
    return bool(listed.get("KeyCount"))

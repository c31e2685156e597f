"""Frames for measurements of whole processes: they are put at once and counted when they come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from contract import Metadata, embed
from local.resources import Resources
from local.rig import drain
from local.waiting import wait_for

SOURCES: Final = 16
FPS: Final = 10
REQUEST: Final = 50


def put(resources: Resources, jpegs: Sequence[bytes], frames: int) -> None:
    """Puts frames of sixteen sources on the stream, so that every shard gets an equal share.

    Args:
        jpegs: What each source sees, one after the other and over again.
        frames: Of all sources together.
    """
    kinesis, session = resources.client("kinesis"), uuid4().hex[:8]
    began = datetime.now(UTC) - timedelta(seconds=frames / SOURCES / FPS)
    records = []
    for number in range(frames):
        turn, camera = divmod(number, SOURCES)
        metadata = Metadata(f"cam-{camera}", session, turn, began + timedelta(seconds=turn / FPS))
        records.append(
            {
                "Data": embed(jpegs[turn % len(jpegs)], metadata),
                "PartitionKey": metadata.source,
                "ExplicitHashKey": str(camera * (2**128 // SOURCES)),
            }
        )
    for start in range(0, frames, REQUEST):
        response = kinesis.put_records(StreamName=resources.stream, Records=records[start : start + REQUEST])
        assert response["FailedRecordCount"] == 0


def wait_for_results(resources: Resources, frames: int, alive: Callable[[], bool]) -> None:
    """Takes results from the queue until so many have come.

    Raises:
        RuntimeError: If whoever makes them ends, or no more come.
    """
    come = 0

    def complete() -> bool:
        nonlocal come
        come += sum(1 for _ in drain(resources, resources.queue_url))
        if come < frames and not alive():
            raise RuntimeError(f"{frames - come} results are missing")
        return come >= frames

    wait_for(complete, f"{frames} results", lambda: come)

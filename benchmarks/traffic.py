"""Frames for measurements of whole processes: they are put at once and counted when they come out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from contract import Metadata, embed
from local.resources import Resources
from local.rig import drain
from local.waiting import wait_for

SOURCES: Final = 16
REQUEST: Final = 50


def put(resources: Resources, jpeg: bytes, frames: int) -> None:
    """Puts frames of sixteen sources on the stream, so that every shard gets an equal share."""
    kinesis, session = resources.client("kinesis"), uuid4().hex[:8]
    now = datetime.now(UTC)
    records = [
        {
            "Data": embed(jpeg, Metadata(f"cam-{number % SOURCES}", session, number // SOURCES, now)),
            "PartitionKey": f"cam-{number % SOURCES}",
            "ExplicitHashKey": str((number % SOURCES) * (2**128 // SOURCES)),
        }
        for number in range(frames)
    ]
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

"""Frames that come twice, from the past or the future, or too late."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.frame import format_time
from contract.message import ResultMessage, SkippedMessage
from local.processes import Worker
from local.resources import Resources
from local.rig import QUICK, drain
from local.waiting import wait_for
from tests.pictures import with_metadata


def put(resources: Resources, *records: bytes) -> None:
    for record in records:
        resources.client("kinesis").put_record(StreamName=resources.stream, Data=record, PartitionKey="door")


def results(worker: Worker, resources: Resources, number: int) -> list[ResultMessage]:
    """So many messages."""
    found: list[ResultMessage] = []

    def complete() -> bool:
        found.extend(map(ResultMessage.model_validate_json, drain(resources, resources.queue_url)))
        return len(found) >= number

    worker.wait_for(complete, f"{number} results")
    return found


def start(resources: Resources, folder: Path, **changes: str) -> Worker:
    return Worker(resources.environment() | QUICK | changes, folder / "worker.log")


def objects(resources: Resources) -> dict[str, str]:
    s3 = resources.client("s3")
    found = s3.list_objects_v2(Bucket=resources.bucket, Prefix="frames/").get("Contents", [])
    return {one["Key"]: one["ETag"] for one in found}


@pytest.mark.thorough
def test_the_same_record_twice_is_one_object_and_one_frame_id(
    resources: Resources, jpeg: bytes, tmp_path: Path
) -> None:
    frames = [with_metadata("door", "s1", index) for index in range(3)]
    put(resources, *frames, *frames)  # as a producer that had no answer would
    with start(resources, tmp_path) as worker:
        ids = Counter(result.frame_id for result in results(worker, resources, 6))
        assert worker.stop() == 0
    assert ids == {f"door/s1/{index:09d}": 2 for index in range(3)}
    assert len(before := objects(resources)) == 3
    # Everything once more under another application's name: the same bytes in the same places.
    with start(resources, tmp_path, KCL_APPLICATION_NAME=f"{resources.stream}-again") as worker:
        again = results(worker, resources, 6)
        assert worker.stop() == 0
    assert {result.frame_id for result in again} == set(ids)
    assert objects(resources) == before


@pytest.mark.thorough
def test_a_replay_begins_at_a_time(resources: Resources, tmp_path: Path) -> None:
    put(resources, *(with_metadata("door", "old", index) for index in range(3)))
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    wait_for(lambda: datetime.now(UTC) > moment, "that moment")
    put(resources, *(with_metadata("door", "new", index) for index in range(2)))
    changes = {"INITIAL_POSITION": "AT_TIMESTAMP", "INITIAL_TIMESTAMP": moment.isoformat()}
    with start(resources, tmp_path, **changes) as worker:
        found = results(worker, resources, 2)
        assert worker.stop() == 0
    assert [result.frame_id for result in found] == ["door/new/000000000", "door/new/000000001"]


@pytest.mark.thorough
def test_clocks_that_are_wrong_by_decades(resources: Resources, tmp_path: Path) -> None:
    times = [datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime.now(UTC)]
    put(resources, *(with_metadata("door", "s1", index, time) for index, time in enumerate(times)))
    # Nor does a wrong clock make a frame stale.
    with start(resources, tmp_path, LAG_POLICY="skip-stale", MAX_FRAME_AGE_SECONDS="300") as worker:
        found = results(worker, resources, 3)
        assert worker.get("/health")[0] == 200
        assert worker.stop() == 0
    assert [result.captured_at for result in found] == [format_time(time) for time in times]
    assert {key.split("/")[2] for key in objects(resources)} >= {"1970-01-01", "9999-12-31"}


@pytest.mark.thorough
def test_stale_frames_are_skipped_and_announced(resources: Resources, tmp_path: Path) -> None:
    put(resources, *(with_metadata("door", "s1", index) for index in range(4)))
    with start(resources, tmp_path, LAG_POLICY="skip-stale", MAX_FRAME_AGE_SECONDS="0.5") as worker:
        worker.wait_for(lambda: worker.get("/status")[1]["skipped"] == 4, "4 skipped frames")
        bodies = list(drain(resources, resources.queue_url))
        status = worker.get("/status")[1]
        assert worker.stop() == 0
    skipped = [SkippedMessage.model_validate_json(body) for body in bodies]
    assert [message.frame_index for message in skipped] == [0, 1, 2, 3]
    assert all(message.age_seconds > 0.5 for message in skipped)
    assert (status["skipped"], status["frames"]) == (4, 0)
    assert objects(resources) == {}

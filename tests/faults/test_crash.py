"""A record that kills whoever works on it, by a signal or for ever: found, quarantined, and nothing else is lost."""

from __future__ import annotations

import json

import pytest

from local.rig import Rig
from tests.faults.conftest import MakeRig, Report
from tests.pictures import with_metadata

GOOD = 30


def put(stage: Rig, *records: bytes) -> None:
    """Puts frames on the stream, and into the audit's ledger."""
    kinesis = stage.resources.client("kinesis")
    for record in records:
        answer = kinesis.put_record(StreamName=stage.resources.stream, Data=record, PartitionKey="door")
        stage.accept(record, answer["ShardId"], answer["SequenceNumber"])


@pytest.mark.parametrize("kind", ["abort", pytest.param("hang", marks=pytest.mark.thorough)])
def test_a_record_that_kills_is_quarantined_and_all_others_come_through(
    kind: str, rig: MakeRig, report: Report
) -> None:
    environment = {"STUCK_SHARD_SECONDS": "20"} if kind == "hang" else {}
    stage = rig(shards=1, environment=environment, module="tests.faults.crashing_worker")
    frames = [with_metadata("door", "s1", index) for index in range(GOOD)]
    put(stage, *frames[:10], with_metadata("door", kind, 0), *frames[10:])
    stage.fleet.scale(1)
    stage.wait_for_outcomes(GOOD + 1)
    findings = stage.audit()
    report(f"a record that kills ({kind})", findings, deaths=len(stage.fleet.exits), exits=stage.fleet.exits)
    assert findings.problems == []
    (notice,) = {notice.frame_id: notice for notice in stage.notices}.values()
    cause = {"abort": "SIGABRT", "hang": "no answer"}[kind]
    assert (notice.frame_id, notice.reason) == (f"door/{kind}/000000000", "crashed")
    assert cause in notice.detail
    assert 1 <= len(stage.fleet.exits) <= 3
    assert {result.frame_id for result in stage.results} == {f"door/s1/{index:09d}" for index in range(GOOD)}
    # The worker ends in good order, and says so in its mark: the next one trusts its records.
    stage.fleet.scale(0)
    s3 = stage.resources.client("s3")
    (mark,) = s3.list_objects_v2(Bucket=stage.resources.bucket, Prefix="state/")["Contents"]
    assert json.loads(s3.get_object(Bucket=stage.resources.bucket, Key=mark["Key"])["Body"].read())["at_rest"]

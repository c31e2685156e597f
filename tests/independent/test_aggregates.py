"""Records that AWS's own library has aggregated, each with several frames."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime

import pytest

from doctor.aggregates import aggregates
from doctor.latest import latest
from doctor.place import Place
from local.rig import Rig
from tests.independent.conftest import MakeRig, Report
from tests.independent.install import PYTHON
from tests.pictures import with_metadata

sys.path.append(str(PYTHON))
aggregator = pytest.importorskip("aws_kinesis_agg.aggregator", reason="aggregation: make test-independent")

CAMERAS = [f"camera-{number}" for number in range(6)]
# In the first of two shards.
HASH_KEY = "1"
START = datetime(2026, 1, 1, tzinfo=UTC)


def put(stage: Rig, sources: list[str], session: str, hash_key: str | None = None) -> str:
    """Puts one aggregate with a frame of each source; the audit expects each of them. Gives the shard."""
    aggregate = aggregator.RecordAggregator()
    counts: Counter[str] = Counter()
    frames = []
    for source in sources:
        frames.append(with_metadata(source, session, counts[source], START))
        counts[source] += 1
        assert aggregate.add_user_record(source, frames[-1], hash_key) is None
    key, explicit, data = aggregate.clear_and_get().get_contents()
    arguments = {"ExplicitHashKey": explicit} if explicit else {}
    answer = stage.resources.client("kinesis").put_record(
        StreamName=stage.resources.stream, PartitionKey=key, Data=data, **arguments
    )
    for frame in frames:
        stage.accept(frame, answer["ShardId"], answer["SequenceNumber"])
    return str(answer["ShardId"])


@pytest.mark.thorough
def test_frames_of_aggregates_arrive_once(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=2)
    for number in range(3):
        for camera in CAMERAS:
            put(stage, [camera] * 5, f"alone{number}")  # one key, hence one shard
        put(stage, CAMERAS, f"together{number}", HASH_KEY)  # several keys under one hash key
    stage.fleet.scale(1)
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("21 KPL aggregates, on others' emulators", findings)
    assert findings.problems == []
    assert findings.accepted == 3 * (6 * 5 + 6)
    assert findings.duplicates == 0
    # Those of one aggregate share its sequence number; the first has no number of its own.
    of_one = [result.sequence_number for result in stage.results if result.frame_id.startswith("camera-0/alone0/")]
    [record] = {number.partition(".")[0] for number in of_one}
    assert sorted(of_one) == [record, *(f"{record}.{sub}" for sub in range(1, 5))]


@pytest.mark.thorough
def test_keys_of_two_shards_in_one_aggregate_are_lost(rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = rig(shards=2)
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    shard = put(stage, CAMERAS, "mixed")
    assert put(stage, CAMERAS[:1] * 2, "after") == shard
    stage.fleet.scale(1)
    stage.wait_for_outcomes(2)
    # KCL takes what hashes outside the record's shard for a copy after a resharding, and drops the whole record.
    findings = stage.audit()
    assert findings.problems == [f"{camera}/mixed/000000000: lost: no message of any kind" for camera in CAMERAS]
    assert findings.announced == 2
    finding = aggregates(latest(Place.from_environment()))
    assert (finding.verdict, finding.says[:36]) == ("wrong", "KCL drops 1 of 2 aggregated records ")

"""A split and a merge in the middle of the stream: parents are finished before their children begin."""

from __future__ import annotations

import pytest

from local.scene import wait_for
from tests.faults.conftest import MakeScene, Report

HALF = 2**127


@pytest.mark.timeout(400)
def test_shards_split_and_merge_under_load(scene: MakeScene, report: Report) -> None:
    # Children are found when shards are listed again; production does so every minute.
    stage = scene(
        shards=1, environment={"KCL_PROPERTIES": "shardSyncIntervalMillis=3000;parentShardPollIntervalMillis=1000"}
    )
    stage.fleet.scale(1)
    stage.send(cameras=4, frames=120, fps=3)
    kinesis, stream = stage.resources.client("kinesis"), stage.resources.stream
    stage.wait_for_outcomes(40)
    kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF))
    wait_for(lambda: {"shardId-000000000001", "shardId-000000000002"} <= set(stage.leases()), "leases of children", 60)
    stage.wait_for_outcomes(200)
    kinesis.merge_shards(
        StreamName=stream, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    wait_for(lambda: "shardId-000000000003" in stage.leases(), "a lease of the merged shard", 60)
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("a split and a merge", findings)
    assert findings.problems == []
    assert findings.accepted == 480
    assert findings.duplicates == 0
    assert stage.fleet.exits == []
    used = {result.shard_id for result in stage.results}
    assert used == {f"shardId-00000000000{number}" for number in range(4)}

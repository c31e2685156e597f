"""What is done to a stage on more than one AWS: the embedded one, and emulators that others wrote."""

from __future__ import annotations

import random
import time

from local.processes import Worker
from local.rig import Rig, kill, parts, pids_of
from local.waiting import wait_for

HALF = 2**127
# Children are found when shards are listed again; production does so every minute.
QUICK_RESHARDING = {"KCL_PROPERTIES": "shardSyncIntervalMillis=3000;parentShardPollIntervalMillis=1000"}
TARGETS = ("worker", "daemon", "record processor", "all")


def split_and_merge(stage: Rig) -> None:
    """Splits the only shard while four cameras send, then merges its children, until frames have come from the merged
    shard; waits for every outcome."""
    stage.fleet.scale(1)
    # So few that no backlog grows: parents have to be read to their ends.
    stage.send(cameras=4, fps=1)
    kinesis, stream = stage.resources.client("kinesis"), stage.resources.stream
    stage.wait_for_outcomes(20)
    kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF))
    _wait_for_results_from(stage, "shardId-000000000001", "shardId-000000000002")
    kinesis.merge_shards(
        StreamName=stream, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    _wait_for_results_from(stage, "shardId-000000000003")
    stage.stop_sending()
    stage.wait_for_outcomes()


def _wait_for_results_from(stage: Rig, *shards: str) -> None:
    def come() -> bool:
        stage.collect()
        return {result.shard_id for result in stage.results}.issuperset(shards)

    wait_for(come, f"results from {' and '.join(shards)}", stage.leases)


def kill_often(stage: Rig, kills: int) -> None:
    """Kills parts of the only worker at random moments while four cameras send; waits for every outcome."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    stage.fleet.scale(1)
    stage.send(cameras=4, fps=2)
    for number in range(kills):
        # From its start on, so that starting, leasing, working and checkpointing are all hit.
        time.sleep(chance.uniform(0.5, 9))
        kill_one(stage, TARGETS[number % len(TARGETS)], chance)
    stage.stop_sending()
    stage.wait_for_outcomes()


def kill_one(stage: Rig, target: str, chance: random.Random) -> None:
    """Kills a part of the only worker as soon as it has one, and waits for the next worker."""

    def found() -> tuple[Worker, list[int]] | None:
        worker = stage.fleet.workers[0]
        pids = pids_of(worker) if target == "all" else parts(worker)[target]
        return (worker, pids) if pids else None

    worker, pids = stage.wait_for(found, f"{target} to kill", stage.leases)
    kill([chance.choice(pids)] if target == "record processor" else pids)
    stage.wait_for(lambda: worker not in stage.fleet.workers, "another worker", stage.progress)

"""Workers come, leave and die, shards split and merge, hand-overs are hit: afterwards every shard has a living owner.

FLEET_CHANGES (40) is how many changes the random test makes, FLEET_SEED which ones.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import pytest

from kcl_worker.kcl.lease_table import Lease, LeaseTable
from local.rig import Rig, kill, observe, pids_of
from local.waiting import wait_for
from tests.faults.conftest import MakeRig, Report

CHANGES = int(os.environ.get("FLEET_CHANGES", "40"))
SEED = int(os.environ.get("FLEET_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
LONGEST_PAUSE_SECONDS = 10
# After so many changes every shard must be read again.
CHANGES_PER_ROUND = 5
WORKERS, SHARDS = (1, 3), (2, 6)
WEIGHTS = {"up": 3, "down": 3, "die": 2, "split": 1, "merge": 1}
# The worker itself makes a daemon's first report.
REPORTS = 2
# The failover time that production has: a shorter one moves leases of its own accord where processors are short.
FAILOVER = {"KCL_FAILOVER_SECONDS": "10"}
QUICK_SHARDS = {"KCL_PROPERTIES": "shardSyncIntervalMillis=3000;parentShardPollIntervalMillis=1000"}


def leave(stage: Rig, names: set[str]) -> None:
    """Stops workers in good order, as ECS does."""
    for name, worker in stage.fleet.living().items():
        if name in names:
            worker.stop()


def die(stage: Rig, names: set[str]) -> None:
    """Kills workers with all their processes at once."""
    kill([pid for name, worker in stage.fleet.living().items() if name in names for pid in pids_of(worker)])


def wait_for_daemons(stage: Rig) -> None:
    """Waits until every worker's daemon can be given leases: it reports again and again."""
    dynamodb, seen = observe(stage.resources, "dynamodb"), defaultdict[str, set[str]](set)

    def reporting() -> bool:
        for report in dynamodb.scan(TableName=f"{stage.resources.stream}-WorkerMetricStats")["Items"]:
            seen[report["wid"]["S"]].add(report["lut"]["N"])
        return all(len(seen[name]) > REPORTS for name in stage.fleet.living())

    wait_for(reporting, "reports of all workers")


def hand_over(stage: Rig) -> list[Lease]:
    """Begins to hand half of the leases over, each to another worker, as KCL's leader does
    (`DynamoDBLeaseRefresher.initiateGracefulLeaseHandoff`); it does so itself by the load of the workers alone."""
    dynamodb, workers = observe(stage.resources, "dynamodb"), sorted(stage.fleet.living())
    for number, lease in enumerate(stage.lease_table()[::2]):
        if lease.owner and not lease.checkpoint_owner:
            others = [worker for worker in workers if worker != lease.owner]
            with suppress(dynamodb.exceptions.ConditionalCheckFailedException):
                dynamodb.update_item(
                    TableName=stage.resources.stream,
                    Key={"leaseKey": {"S": lease.key}},
                    UpdateExpression="SET leaseOwner = :new, checkpointOwner = :old",
                    ConditionExpression="leaseOwner = :old AND attribute_not_exists(checkpointOwner)",
                    ExpressionAttributeValues={
                        ":new": {"S": others[number % len(others)]},
                        ":old": {"S": lease.owner},
                    },
                )
    return [lease for lease in stage.lease_table() if lease.checkpoint_owner]


@pytest.mark.thorough
# The random changes below hit the other pairs; unit tests decide all of them (test_lease_watch.py).
@pytest.mark.parametrize(("side", "end"), [("new", leave), ("old", die), ("both", die)])
def test_a_hand_over_that_loses_a_side(rig: MakeRig, report: Report, side: str, end: Callable[..., None]) -> None:
    stage = rig(shards=8, environment=FAILOVER)
    stage.fleet.scale(1)  # the first leads; its successor is another
    wait_for(lambda: len([owner for owner in stage.leases().values() if owner]) == 8, "leases", stage.leases)
    stage.send(cameras=8, fps=0.5)
    stage.wait_for_outcomes(8)
    stage.fleet.scale(3)
    wait_for_daemons(stage)
    handed_over = hand_over(stage)
    old = {lease.checkpoint_owner for lease in handed_over}
    new = {lease.owner for lease in handed_over}
    end(stage, {"new": new, "old": old, "both": new | old}[side])
    seconds = stage.wait_until_read()
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    what = "left" if end is leave else "killed"
    report(f"{len(handed_over)} of 8 leases handed over, {side} owners {what}", findings, seconds_until_read=seconds)
    assert findings.problems == []
    assert stage.unread() == []


@pytest.mark.thorough
def test_a_lease_that_is_assigned_to_its_holder_begins_anew(rig: MakeRig) -> None:
    """So a worker mends its own daemon, which may renew for ever what it no longer reads (`kcl_worker.kcl.repairs`)."""
    stage = rig(shards=1, environment=FAILOVER)
    stage.fleet.scale(1)
    [worker] = stage.fleet.workers
    worker.wait_for_shards(1)
    table = LeaseTable(observe(stage.resources, "dynamodb"), stage.resources.stream)

    def assigned() -> bool:
        [lease] = table.leases(consistent=True)
        return lease.owner is not None and table.assign(lease, lease.owner)

    wait_for(assigned, "change between two renewals")

    def began() -> int:
        return sum(line["message"] == "shard leased" for line in worker.log())

    wait_for(lambda: began() == 2, "another record processor", began)
    stage.send(cameras=1, fps=2, frames=4)
    stage.wait_for_outcomes(4)
    assert stage.audit().problems == []


class Changes:
    """Changes a fleet and its stream at random."""

    def __init__(self, stage: Rig, choice: random.Random) -> None:
        self._stage, self._choice = stage, choice
        self._kinesis = observe(stage.resources, "kinesis")
        self._stream = stage.resources.stream
        self._workers = WORKERS[1]

    def make(self) -> str:
        """Makes one; says which."""
        possible = [name for name, able in self._possible().items() if able]
        name = self._choice.choices(possible, [WEIGHTS[name] for name in possible])[0]
        getattr(self, name)()
        return name

    def _possible(self) -> dict[str, bool]:
        shards = len(self._open())
        return {
            "up": self._workers < WORKERS[1],
            "down": self._workers > WORKERS[0],
            "die": True,
            "split": shards < SHARDS[1],
            "merge": shards > SHARDS[0],
        }

    def up(self) -> None:
        self._workers = self._choice.randint(self._workers + 1, WORKERS[1])
        self._stage.fleet.scale(self._workers)

    def down(self) -> None:
        self._workers = self._choice.randint(WORKERS[0], self._workers - 1)
        self._stage.fleet.scale(self._workers)

    def die(self) -> None:
        # The fleet starts another, as ECS does.
        if living := self._stage.fleet.living():
            die(self._stage, {self._choice.choice(sorted(living))})

    def split(self) -> None:
        first, last, shard_id = self._choice.choice(self._open())
        middle = str((first + last) // 2 + 1)
        self._kinesis.split_shard(StreamName=self._stream, ShardToSplit=shard_id, NewStartingHashKey=middle)

    def merge(self) -> None:
        shards = self._open()
        low = self._choice.randrange(len(shards) - 1)
        (_, _, shard), (_, _, adjacent) = shards[low : low + 2]
        self._kinesis.merge_shards(StreamName=self._stream, ShardToMerge=shard, AdjacentShardToMerge=adjacent)

    def _open(self) -> list[tuple[int, int, str]]:
        """Open shards by their place: first and last hash key, id."""
        shards = self._kinesis.list_shards(StreamName=self._stream)["Shards"]
        return sorted(
            (
                int(shard["HashKeyRange"]["StartingHashKey"]),
                int(shard["HashKeyRange"]["EndingHashKey"]),
                shard["ShardId"],
            )
            for shard in shards
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        )


@pytest.mark.thorough
def test_random_changes_leave_no_shard_unread(rig: MakeRig, report: Report) -> None:
    print(f"FLEET_SEED={SEED}")
    choice = random.Random(SEED)
    stage = rig(shards=4, environment=FAILOVER | QUICK_SHARDS)
    stage.fleet.scale(WORKERS[1])
    stage.wait_until_read()
    stage.send(cameras=4, fps=0.5)
    changes, made, seconds = Changes(stage, choice), list[str](), list[float]()
    while len(made) < CHANGES:
        for _ in range(min(CHANGES_PER_ROUND, CHANGES - len(made))):
            made.append(changes.make())
            time.sleep(choice.uniform(0, LONGEST_PAUSE_SECONDS))
        # From the last change on, of which a part has passed.
        seconds.append(stage.wait_until_read())
        print(f"{made[-CHANGES_PER_ROUND:]}: read after {seconds[-1]} s")
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report(f"{CHANGES} random changes, seed {SEED}", findings, seconds_until_all_are_read=seconds)
    assert findings.problems == []
    assert stage.unread() == []

"""Leases that a worker leaves, that a hand-over loses, that nobody reads: each state that KCL's table can be in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kcl_worker.kcl import departure
from kcl_worker.kcl.lease_watch import LeaseWatch
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.kcl.unowned import Unowned
from kcl_worker.operating.health import HealthServer, State
from kcl_worker.operating.metrics import Metrics
from kcl_worker.settings import Settings
from local.resources import Resources
from tests.unit.test_worker_parts import Clock, settings

ME, OLD, NEW, THIRD = "me", "old", "new", "third"
FIRST = "shardId-000000000000"
LOOK_SECONDS = 2.0


class Fleet:
    """KCL's tables as several daemons would leave them, and a clock."""

    def __init__(self, resources: Resources, *, shards: int = 1) -> None:
        self.resources, self.clock = resources, Clock()
        self.dynamodb = resources.client("dynamodb")
        self.settings = settings(
            kinesis_stream_name=resources.stream, kcl_application_name=resources.stream, worker_id=ME
        )
        self.leases, self.reports, self.locks = (
            f"{resources.stream}{name}" for name in ("", "-WorkerMetricStats", "-CoordinatorState")
        )
        for name, key in ((self.leases, "leaseKey"), (self.reports, "wid"), (self.locks, "key")):
            self.dynamodb.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        self.reading: set[str] = set()  # shards that this worker reads
        self.watch = self.watch_as(self.settings)
        self.time = 1_000_000

    def watch_as(self, settings: Settings) -> LeaseWatch:
        kinesis = self.resources.client("kinesis")
        return LeaseWatch(settings, self.dynamodb, kinesis, lambda: self.reading, self.clock)

    def lease(self, owner: str | None, checkpoint_owner: str | None = None, key: str = FIRST, **more: Any) -> None:
        item = {"leaseKey": {"S": key}, "leaseCounter": {"N": "5"}, "checkpoint": {"S": "17"}, **more}
        names = (("leaseOwner", owner), ("checkpointOwner", checkpoint_owner))
        self.dynamodb.put_item(TableName=self.leases, Item=item | {n: {"S": v} for n, v in names if v})

    def seen(self, key: str = FIRST) -> tuple[str | None, str | None, int]:
        item = self.dynamodb.get_item(TableName=self.leases, Key={"leaseKey": {"S": key}})["Item"]
        owners = (item.get(name, {}).get("S") for name in ("leaseOwner", "checkpointOwner"))
        return *owners, int(item["leaseCounter"]["N"])

    def report(self, *workers: str) -> None:
        self.time += 2
        for worker in workers:
            # As KCL does: other attributes stay.
            self.dynamodb.update_item(
                TableName=self.reports,
                Key={"wid": {"S": worker}},
                UpdateExpression="SET lut = :time",
                ExpressionAttributeValues={":time": {"N": str(self.time)}},
            )

    def renew(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.dynamodb.update_item(
                TableName=self.leases,
                Key={"leaseKey": {"S": key}},
                UpdateExpression="ADD leaseCounter :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    def elect(self, worker: str) -> None:
        self.dynamodb.put_item(TableName=self.locks, Item={"key": {"S": "Leader"}, "ownerName": {"S": worker}})

    def leader(self) -> str | None:
        item = self.dynamodb.get_item(TableName=self.locks, Key={"key": {"S": "Leader"}}).get("Item", {})
        owner: str | None = item.get("ownerName", {}).get("S")
        return owner

    def pass_seconds(self, seconds: float, *, alive: Iterable[str] = (ME,), renewed: Iterable[str] = ()) -> list[str]:
        """Time passes; says what was done to leases."""
        made: list[str] = []
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += LOOK_SECONDS
            self.report(*alive)
            self.renew(renewed)
            made += [f"{repair.change.value}: {repair.owner}, {repair.why}" for repair in self.watch.look()]
        return made


@pytest.fixture
def fleet(on_embedded_aws: Resources) -> Fleet:
    return Fleet(on_embedded_aws)


@pytest.mark.parametrize(
    ("owner", "checkpoint_owner", "reporting", "left"),
    [
        # The holder frees it.
        (ME, None, [OLD], (None, None, 6)),
        # The old owner of a hand-over leaves it to the new one, or to whoever is found if that one has gone.
        (NEW, ME, [NEW], (NEW, None, 6)),
        (NEW, ME, [], (None, None, 6)),
        # The new owner leaves it to the old one, whose renewal does not fail; or frees it.
        (ME, OLD, [OLD], (OLD, None, 5)),
        (ME, OLD, [], (None, None, 6)),
        # What an older worker's release has left.
        (None, ME, [], (None, None, 6)),
        # Those of others are theirs.
        (NEW, None, [], (NEW, None, 5)),
        (NEW, OLD, [NEW, OLD], (NEW, OLD, 5)),
    ],
)
def test_a_worker_that_leaves_gives_up_its_part_in_each_lease(
    fleet: Fleet, owner: str | None, checkpoint_owner: str | None, reporting: list[str], left: tuple[Any, ...]
) -> None:
    fleet.lease(owner, checkpoint_owner)
    fleet.report(ME, *reporting)
    fleet.elect(ME)
    assert departure.release(fleet.settings) == (ME in (owner, checkpoint_owner))
    assert fleet.seen() == left
    assert fleet.leader() is None
    reports = {item["wid"]["S"] for item in fleet.dynamodb.scan(TableName=fleet.reports)["Items"]}
    assert reports == set(reporting)


def test_a_hand_over_that_has_lost_its_new_owner_is_mended_at_once(fleet: Fleet) -> None:
    # Seen in 4 of 4 trials: KCL's leader takes the old owner for the owner, and gives the lease to nobody.
    fleet.lease(None, ME)
    assert fleet.pass_seconds(4) == ["assigned: me, its hand-over has lost the new owner"]
    assert fleet.seen() == (ME, None, 5 + 2)


def test_a_free_lease_is_the_leaders_while_there_is_one(fleet: Fleet) -> None:
    fleet.lease(None)
    fleet.elect(ME)
    assert fleet.pass_seconds(4) == []
    assert fleet.pass_seconds(4) == ["assigned: me, it was free"]


def test_where_nobody_leads_free_leases_go_to_whoever_has_fewest(fleet: Fleet) -> None:
    for number in range(4):
        fleet.lease(None, key=f"shardId-00000000000{number}")
    fleet.lease(NEW, key="shardId-000000000009")
    fleet.pass_seconds(6, alive=[ME, NEW], renewed=["shardId-000000000009"])
    owners = [fleet.seen(f"shardId-00000000000{number}")[0] for number in range(4)]
    assert sorted(map(str, owners)) == [ME, ME, ME, NEW]


def test_leases_of_a_dead_worker_are_given_away(fleet: Fleet) -> None:
    fleet.elect(ME)
    fleet.lease(OLD)
    assert fleet.pass_seconds(4, alive=[ME, OLD]) == []
    assert fleet.pass_seconds(8) == []
    assert fleet.pass_seconds(4) == ["assigned: me, its owner is dead"]


def test_a_worker_that_renews_or_reports_is_not_dead(fleet: Fleet) -> None:
    fleet.elect(OLD)
    fleet.lease(OLD)
    fleet.report(OLD)
    assert fleet.pass_seconds(60, renewed=[FIRST]) == []  # its report alone stands still
    assert fleet.leader() == OLD
    assert fleet.pass_seconds(10, alive=[ME, OLD]) == []


def test_a_lease_that_a_living_worker_has_dropped_goes_to_another(fleet: Fleet) -> None:
    fleet.lease(OLD)
    fleet.elect(ME)
    assert fleet.pass_seconds(12, alive=[ME, OLD]) == []  # KCL's leader has its chance first
    assert fleet.pass_seconds(6, alive=[ME, OLD]) == ["assigned: me, its owner does not renew it"]


@pytest.mark.parametrize(
    ("alive", "renewed", "done", "left"),
    [
        ([ME, OLD, NEW], [FIRST], [], (NEW, OLD)),
        ([ME, NEW], [], ["left to its new owner: new, its old owner does not hand it over"], (NEW, None)),
        # Dropped by the old owner, as after a failure of DynamoDB.
        ([ME, OLD, NEW], [], ["left to its new owner: new, its old owner does not hand it over"], (NEW, None)),
        ([ME, OLD], [FIRST], ["left to its old owner: old, its new owner is dead"], (OLD, None)),
        ([ME], [], ["assigned: me, neither side of its hand-over lives and reads it"], (ME, None)),
    ],
)
def test_a_hand_over_ends_whoever_dies(
    fleet: Fleet, alive: list[str], renewed: list[str], done: list[str], left: tuple[str | None, ...]
) -> None:
    fleet.elect(ME)
    fleet.lease(NEW, OLD)
    assert fleet.pass_seconds(4, alive=[ME, OLD, NEW], renewed=[FIRST]) == []
    assert fleet.pass_seconds(14, alive=alive, renewed=renewed) == done
    assert fleet.seen()[:2] == left


def test_a_hand_over_that_kcl_forgets_is_finished(fleet: Fleet) -> None:
    # Seen: the old owner goes on renewing what it no longer reads, and the new one waits for ever.
    fleet.elect(ME)
    fleet.lease(NEW, OLD)
    assert fleet.pass_seconds(34, alive=[ME, OLD, NEW], renewed=[FIRST]) == []  # KCL's own time for it
    done = ["left to its new owner: new, its old owner does not hand it over"]
    assert fleet.pass_seconds(4, alive=[ME, OLD, NEW], renewed=[FIRST]) == done


def test_the_old_owner_finishes_a_hand_over_soon_after_it_has_stopped_reading(fleet: Fleet) -> None:
    fleet.elect(OLD)
    fleet.lease(NEW, ME)
    fleet.reading = {FIRST}
    assert fleet.pass_seconds(20, alive=[ME, OLD, NEW], renewed=[FIRST]) == []
    fleet.reading = set()
    assert fleet.pass_seconds(6, alive=[ME, OLD, NEW], renewed=[FIRST]) == []
    done = ["left to its new owner: new, its old owner does not hand it over"]
    assert fleet.pass_seconds(2, alive=[ME, OLD, NEW], renewed=[FIRST]) == done


def test_a_lease_that_we_renew_and_do_not_read_is_taken_anew(fleet: Fleet) -> None:
    fleet.elect(ME)
    fleet.lease(ME)
    fleet.reading = {FIRST}
    assert fleet.pass_seconds(120, renewed=[FIRST]) == []
    fleet.reading = set()
    assert fleet.pass_seconds(60, renewed=[FIRST]) == []
    owner, checkpoint_owner, counter = fleet.seen()
    assert fleet.pass_seconds(2, renewed=[FIRST]) == ["assigned: me, its owner does not read it"]
    # The daemon's next renewal is refused, by which it lets go, and finds the lease again; it would take one more than
    # its own for a renewal whose answer was lost.
    assert fleet.seen() == (owner, checkpoint_owner, counter + 1 + 2)
    [told] = fleet.watch.unowned() or []
    assert (told.seconds, told.why) == (60, "me renews its lease and does not read it")
    assert fleet.pass_seconds(58, renewed=[FIRST]) == []  # it gets its time once more


@pytest.mark.thorough
def test_a_child_is_not_read_while_its_parent_is(fleet: Fleet) -> None:
    kinesis = fleet.resources.client("kinesis")
    kinesis.split_shard(StreamName=fleet.resources.stream, ShardToSplit=FIRST, NewStartingHashKey=str(2**127))
    child = f"{FIRST[:-1]}1"
    fleet.lease(ME)
    fleet.lease(ME, key=child)
    fleet.reading = {FIRST}
    assert fleet.pass_seconds(120, renewed=[FIRST, child]) == []
    fleet.lease(ME, checkpoint={"S": "SHARD_END"})
    fleet.reading = set()
    assert fleet.pass_seconds(60, renewed=[child]) == []
    assert fleet.pass_seconds(2, renewed=[child]) == ["assigned: me, its owner does not read it"]


def test_the_old_owner_of_a_hand_over_that_is_called_off_never_notices(fleet: Fleet) -> None:
    fleet.elect(ME)
    fleet.lease(NEW, OLD)
    fleet.pass_seconds(14, alive=[ME, OLD], renewed=[FIRST])
    # Only its own renewals have changed the counter.
    assert fleet.seen() == (OLD, None, 5 + 7)


def test_a_lease_that_was_renewed_meanwhile_is_left_alone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.elect(ME)
    fleet.lease(OLD)
    fleet.pass_seconds(4, alive=[ME, OLD])
    real = fleet.dynamodb.update_item

    def renewed_just_before(**arguments: Any) -> Any:
        monkeypatch.setattr(fleet.dynamodb, "update_item", real)
        fleet.renew([FIRST])
        return real(**arguments)

    fleet.pass_seconds(8)
    monkeypatch.setattr(fleet.dynamodb, "update_item", renewed_just_before)
    assert fleet.pass_seconds(2) == []
    assert fleet.seen()[0] == OLD


def test_a_worker_has_no_more_leases_than_it_may(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = fleet.settings.model_copy(update={"kcl_properties": "maxLeasesForWorker=1"})
    fleet.watch = fleet.watch_as(limited)
    for number in range(2):
        fleet.lease(None, key=f"shardId-00000000000{number}")
    assert len(fleet.pass_seconds(10)) == 1


def test_a_worker_that_leaves_takes_no_more_leases(fleet: Fleet) -> None:
    fleet.lease(None)
    fleet.pass_seconds(2, alive=[ME, NEW])
    asyncio.run(fleet.watch.leave())
    other = fleet.settings.model_copy(update={"worker_id": NEW})
    fleet.watch = fleet.watch_as(other)
    assert fleet.pass_seconds(20, alive=[ME]) == []  # though it still reports


def test_whoever_leaves_without_dynamodb_leaves_all_the_same(fleet: Fleet) -> None:
    fleet.dynamodb.delete_table(TableName=fleet.reports)
    asyncio.run(fleet.watch.leave())


def test_the_lock_of_a_dead_leader_is_freed(fleet: Fleet) -> None:
    fleet.elect(OLD)
    fleet.pass_seconds(6, alive=[ME, OLD])
    fleet.pass_seconds(8)
    assert fleet.leader() == OLD
    fleet.pass_seconds(4)
    assert fleet.leader() is None
    fleet.elect(ME)  # our own lock is not ours to judge
    fleet.pass_seconds(60, alive=[])
    assert fleet.leader() == ME


def test_a_healthy_leader_is_not_evicted_because_dynamodb_was_away(fleet: Fleet) -> None:
    fleet.elect(OLD)
    fleet.lease(OLD)
    fleet.pass_seconds(10, alive=[ME, OLD], renewed=[FIRST])
    # Looks fail, and so do the leader's reports and renewals, for a minute; then it needs some seconds to come back.
    for _ in range(30):
        fleet.clock.now += 2
        fleet.watch.forget()
    assert fleet.pass_seconds(8) == []
    assert fleet.leader() == OLD
    assert fleet.pass_seconds(10, alive=[ME, OLD], renewed=[FIRST]) == []
    # An answer that took a minute is no row of looks either.
    fleet.clock.now += 60
    assert fleet.watch.look() == []
    assert fleet.pass_seconds(2) == []
    assert (fleet.leader(), fleet.seen()[0]) == (OLD, OLD)


def test_every_other_look_that_fails_condemns_nobody(fleet: Fleet) -> None:
    fleet.elect(OLD)
    for _ in range(30):
        assert fleet.pass_seconds(4) == []
        fleet.watch.forget()
    assert fleet.leader() == OLD


def test_a_look_that_fails_raises_so_that_the_row_is_broken(fleet: Fleet) -> None:
    fleet.dynamodb.delete_table(TableName=fleet.reports)
    with pytest.raises(ClientError):
        fleet.watch.look()
    fleet.watch.forget()
    assert fleet.watch.unowned() is None


def test_leases_are_mended_while_kinesis_is_away(fleet: Fleet) -> None:
    fleet.resources.client("kinesis").delete_stream(StreamName=fleet.resources.stream)
    fleet.lease(None, ME)
    assert fleet.pass_seconds(4) == ["assigned: me, its hand-over has lost the new owner"]


def test_what_nobody_reads_is_told(fleet: Fleet) -> None:
    # An open shard without a lease, though its parents are not being read.
    fleet.pass_seconds(10)
    [found] = fleet.watch.unowned() or []
    assert (found.shard_id, found.seconds, found.why) == (FIRST, 8, "it has no lease")
    # A held one whose owner falls silent.
    fleet.lease(OLD)
    fleet.pass_seconds(10, alive=[ME, OLD], renewed=[FIRST])
    assert fleet.watch.unowned() == []
    asyncio.run(fleet.watch.leave())
    fleet.pass_seconds(14, alive=[ME])
    [found] = fleet.watch.unowned() or []
    assert (found.shard_id, found.seconds, found.why) == (FIRST, 14, "old does not renew its lease")
    # A free one.
    fleet.lease(None)
    fleet.pass_seconds(4)
    [found] = fleet.watch.unowned() or []
    assert (found.seconds, found.why) == (2, "its lease is free")
    # One that was read to its end needs nobody.
    fleet.lease(None, checkpoint={"S": "SHARD_END"})
    fleet.pass_seconds(4)
    assert fleet.watch.unowned() == []


def test_children_wait_for_their_parents(fleet: Fleet) -> None:
    kinesis = fleet.resources.client("kinesis")
    kinesis.split_shard(StreamName=fleet.resources.stream, ShardToSplit=FIRST, NewStartingHashKey=str(2**127))
    fleet.lease(OLD)
    fleet.pass_seconds(6, alive=[ME, OLD], renewed=[FIRST])
    assert fleet.watch.unowned() == []
    fleet.lease(OLD, checkpoint={"S": "SHARD_END"})
    fleet.pass_seconds(6, alive=[ME, OLD], renewed=[FIRST])
    assert [shard.shard_id[-1] for shard in fleet.watch.unowned() or []] == ["1", "2"]


def test_status_and_metrics_tell_them() -> None:
    found = [Unowned(FIRST, 61.26, "its lease is free"), Unowned("shardId-000000000001", 3, "it has no lease")]
    lines = StringIO()
    metrics = Metrics("cv2kinesis", "app", ShardBoard(), lines, unowned=lambda: found)
    metrics.flush()
    line = json.loads(lines.getvalue())
    assert (line["UnownedShards"], line["UnownedSeconds"]) == (2, 61.3)
    server = HealthServer(settings(), State(unowned=lambda: found), ShardBoard(), metrics)
    try:
        [first, _] = server.status()["unowned_shards"]
        assert first == {"shard_id": FIRST, "seconds": 61.3, "why": "its lease is free"}
    finally:
        server.close()
    # What is not known is not said.
    lines = StringIO()
    Metrics("cv2kinesis", "app", ShardBoard(), lines).flush()
    assert "Unowned" not in lines.getvalue()


@pytest.mark.parametrize(("others", "looks"), [(["a", "b"], True), (["a", "b", "c"], False), (["x", "y", "z"], True)])
def test_three_workers_of_a_large_fleet_look_often(fleet: Fleet, others: list[str], looks: bool) -> None:
    assert fleet.watch._watches()  # until others are known
    fleet.pass_seconds(6, alive=[ME, *others])
    assert fleet.watch._watches() == looks

"""Leases of a stream that was deleted and made again under its name."""

from __future__ import annotations

import pytest

from kcl_worker.errors import ServiceError
from kcl_worker.kcl import arrival
from kcl_worker.kcl.lease_table import LeaseTable
from kcl_worker.kcl.stream_watch import StreamWatch
from kcl_worker.settings import Settings
from local.resources import Resources
from tests.unit.test_worker_parts import settings


class Stream:
    """A stream with its leases."""

    def __init__(self, resources: Resources) -> None:
        self.name = resources.stream
        self.kinesis, self.dynamodb = resources.client("kinesis"), resources.client("dynamodb")
        self.settings: Settings = settings(kinesis_stream_name=self.name, kcl_application_name=self.name)
        self.table = LeaseTable(self.dynamodb, self.name)
        self.watch = StreamWatch(self.name, self.kinesis, self.table)

    def make_again(self, shards: int = 1) -> None:
        self.kinesis.delete_stream(StreamName=self.name)
        self.kinesis.create_stream(StreamName=self.name, ShardCount=shards)

    def checkpoint(self, sequence_number: str) -> None:
        """As KCL does: it changes its own attributes."""
        for lease in self.table.leases():
            self.dynamodb.update_item(
                TableName=self.name,
                Key={"leaseKey": {"S": lease.key}},
                AttributeUpdates={"checkpoint": {"Value": {"S": sequence_number}, "Action": "PUT"}},
            )

    def checkpoints(self) -> dict[str, str]:
        items = self.dynamodb.scan(TableName=self.name)["Items"]
        return {item["leaseKey"]["S"]: item["checkpoint"]["S"] for item in items}


@pytest.fixture
def stream(on_embedded_aws: Resources) -> Stream:
    return Stream(on_embedded_aws)


@pytest.mark.parametrize("shards", [1, arrival.MAX_SHARDS + 1])
def test_a_new_stream_begins_with_fresh_leases(stream: Stream, caplog: pytest.LogCaptureFixture, shards: int) -> None:
    arrival.prepare(stream.settings)
    stream.checkpoint("49")
    arrival.prepare(stream.settings)
    assert list(stream.checkpoints().values()) == ["49"]
    stream.make_again(shards)
    arrival.prepare(stream.settings)
    arrival.prepare(stream.settings)
    assert list(stream.checkpoints().values()) == ["TRIM_HORIZON"] * shards
    assert caplog.text.count("the stream was made again: its leases begin anew") == 1


def test_leases_of_shards_that_were_split_make_way_too(stream: Stream) -> None:
    arrival.prepare(stream.settings)
    stream.dynamodb.put_item(
        TableName=stream.name,
        Item={
            "leaseKey": {"S": "shardId-000000000001"},
            "leaseCounter": {"N": "1"},
            "checkpoint": {"S": "50"},
            "parentShardId": {"SS": ["shardId-000000000000"]},
        },
    )
    stream.make_again()
    arrival.prepare(stream.settings)
    assert stream.checkpoints() == {"shardId-000000000000": "TRIM_HORIZON"}


def test_a_new_stream_that_was_resharded_already_begins_with_its_first_shards(stream: Stream) -> None:
    arrival.prepare(stream.settings)
    stream.make_again()
    stream.kinesis.split_shard(
        StreamName=stream.name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    arrival.prepare(stream.settings)
    assert stream.checkpoints() == {"shardId-000000000000": "TRIM_HORIZON"}


def test_a_lease_that_another_worker_has_made_for_the_new_stream_stays(stream: Stream) -> None:
    arrival.prepare(stream.settings)
    [old] = stream.table.leases()
    stream.make_again()
    arrival.prepare(stream.settings)
    assert not stream.table.remove(old)
    assert stream.checkpoints() == {"shardId-000000000000": "TRIM_HORIZON"}


def test_a_running_worker_ends_when_its_stream_is_another(stream: Stream) -> None:
    arrival.prepare(stream.settings)
    stream.watch.look()
    stream.make_again()
    with pytest.raises(ServiceError, match=r"it was made again at 20.*; the next start begins anew"):
        stream.watch.look()
    # Also one that has never seen the other stream.
    with pytest.raises(ServiceError, match="it was made again"):
        StreamWatch(stream.name, stream.kinesis, stream.table).look()


def test_leases_without_a_mark_get_one(stream: Stream) -> None:
    arrival.prepare(stream.settings)
    [seeded] = stream.table.leases()
    item = {"leaseKey": {"S": "shardId-000000000001"}, "leaseCounter": {"N": "0"}, "checkpoint": {"S": "17"}}
    stream.dynamodb.put_item(TableName=stream.name, Item=item)  # by KCL, or by a worker of before
    stream.watch.look()
    assert {lease.stream for lease in stream.table.leases()} == {seeded.stream}
    assert stream.checkpoints()["shardId-000000000001"] == "17"

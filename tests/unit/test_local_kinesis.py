"""The corrections to moto, seen through a client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.resources import Resources

HALF = 2**127
FIRST = "shardId-000000000000"


def put(resources: Resources, *numbers: int) -> list[str]:
    entries = [{"Data": b"%d" % number, "PartitionKey": "k"} for number in numbers]
    response = resources.client("kinesis").put_records(StreamName=resources.stream, Records=entries)
    return [entry["ShardId"] for entry in response["Records"]]


def read(resources: Resources, shard: str, **position: Any) -> tuple[list[bytes], dict[str, Any]]:
    """Reads a shard up to its current end."""
    kinesis, data = resources.client("kinesis"), []
    position = position or {"ShardIteratorType": "TRIM_HORIZON"}
    iterator = kinesis.get_shard_iterator(StreamName=resources.stream, ShardId=shard, **position)["ShardIterator"]
    while True:
        response = kinesis.get_records(ShardIterator=iterator, Limit=2)
        data += [record["Data"] for record in response["Records"]]
        iterator = response.get("NextShardIterator")
        if not response["Records"] or iterator is None:
            return data, response


def test_a_closed_shard_is_read_to_its_end_and_names_its_children(resources: Resources) -> None:
    put(resources, 1, 2, 3)
    kinesis = resources.client("kinesis")
    kinesis.split_shard(StreamName=resources.stream, ShardToSplit=FIRST, NewStartingHashKey=str(HALF))
    assert FIRST not in put(resources, 4, 5)
    data, end = read(resources, FIRST)
    assert data == [b"1", b"2", b"3"]
    assert "NextShardIterator" not in end
    children = {child["ShardId"]: child for child in end["ChildShards"]}
    assert sorted(children) == ["shardId-000000000001", "shardId-000000000002"]
    assert all(child["ParentShards"] == [FIRST] for child in children.values())
    assert [data for shard in children for data in read(resources, shard)[0]] == [b"4", b"5"]


def test_merged_shards_keep_their_records_too(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    kinesis.split_shard(StreamName=resources.stream, ShardToSplit=FIRST, NewStartingHashKey=str(HALF))
    [shard] = set(put(resources, 1))
    kinesis.merge_shards(
        StreamName=resources.stream,
        ShardToMerge="shardId-000000000001",
        AdjacentShardToMerge="shardId-000000000002",
    )
    assert put(resources, 2) == ["shardId-000000000003"]
    data, end = read(resources, shard)
    assert data == [b"1"]
    assert [child["ShardId"] for child in end["ChildShards"]] == ["shardId-000000000003"]
    summary = kinesis.describe_stream_summary(StreamName=resources.stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 1


def test_the_last_hash_key_belongs_to_a_shard(resources: Resources) -> None:
    resources.client("kinesis").put_record(
        StreamName=resources.stream, Data=b"x", PartitionKey="k", ExplicitHashKey=str(2 * HALF - 1)
    )
    assert read(resources, FIRST)[0] == [b"x"]


def test_reading_goes_on_after_a_sequence_number(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    numbers = [
        kinesis.put_record(StreamName=resources.stream, Data=b"%d" % n, PartitionKey="k")["SequenceNumber"]
        for n in range(5)
    ]
    after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[2]}
    assert read(resources, FIRST, **after)[0] == [b"3", b"4"]
    at = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[2]}
    assert read(resources, FIRST, **at)[0] == [b"2", b"3", b"4"]
    assert read(resources, FIRST, ShardIteratorType="LATEST")[0] == []


def test_an_open_shard_has_no_end(resources: Resources) -> None:
    put(resources, 1)
    assert read(resources, FIRST)[1]["NextShardIterator"]


def test_requests_have_the_limits_of_the_service(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    megabyte = {"Data": b"x" * (1024 * 1024 - 1), "PartitionKey": "k"}
    kinesis.put_records(StreamName=resources.stream, Records=[megabyte] * 9)
    for records in ([megabyte] * 11, [{"Data": b"x" * (1024 * 1024), "PartitionKey": "k"}]):
        with pytest.raises(ClientError, match=r"InvalidArgument|ValidationException"):
            kinesis.put_records(StreamName=resources.stream, Records=records)


def test_a_stream_has_the_tags_that_it_was_made_with(resources: Resources) -> None:
    kinesis, name = resources.client("kinesis"), f"{resources.stream}-tagged"
    kinesis.create_stream(StreamName=name, ShardCount=1, Tags={"owner": "video"})
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == [{"Key": "owner", "Value": "video"}]


def test_shards_are_listed_by_when_they_were_open(resources: Resources) -> None:
    kinesis = resources.client("kinesis")
    kinesis.split_shard(StreamName=resources.stream, ShardToSplit=FIRST, NewStartingHashKey=str(HALF))

    def names(kind: str, **more: Any) -> list[str]:
        shards = kinesis.list_shards(StreamName=resources.stream, ShardFilter={"Type": kind} | more)["Shards"]
        return [shard["ShardId"][-1] for shard in shards]

    now = datetime.now(UTC)
    assert names("AT_TRIM_HORIZON") == ["0"]
    assert names("AT_LATEST") == names("AT_TIMESTAMP", Timestamp=now) == names("FROM_TIMESTAMP", Timestamp=now)
    assert names("AT_LATEST") == names("AFTER_SHARD_ID", ShardId=FIRST) == ["1", "2"]
    assert names("FROM_TRIM_HORIZON") == ["0", "1", "2"]
    assert names("AT_TIMESTAMP", Timestamp=now - timedelta(days=1)) == ["0"]  # the horizon

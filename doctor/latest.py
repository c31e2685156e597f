"""The latest records of each shard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from doctor.place import Place, ask, named

RECENT_MINUTES: Final = 5
# A frame is large, and a shard gives 2 MB a second to all its readers: some records say how its producers work.
LOOKED_AT: Final = 20
READS: Final = 5

# Each shard with its first records of the last minutes.
Latest = list[tuple[dict[str, Any], list[dict[str, Any]]]]


def latest(place: Place) -> Latest:
    """Reads them once, for all checks."""
    named("records", place.stream, "KINESIS_STREAM_NAME")
    kinesis, since = place.client("kinesis"), datetime.now(UTC) - timedelta(minutes=RECENT_MINUTES)
    shards = ask(
        "records", "kinesis:ListShards", lambda: kinesis.list_shards(StreamName=place.stream)["Shards"], "no stream"
    )
    return [
        (shard, ask("records", "kinesis:GetRecords", partial(_records, kinesis, place, shard, since), "no shard"))
        for shard in shards
    ]


def _records(kinesis: Any, place: Place, shard: dict[str, Any], since: datetime) -> list[dict[str, Any]]:
    iterator = kinesis.get_shard_iterator(
        StreamName=place.stream, ShardId=shard["ShardId"], ShardIteratorType="AT_TIMESTAMP", Timestamp=since
    )["ShardIterator"]
    found: list[dict[str, Any]] = []
    # A read may return nothing although more records follow.
    for _ in range(READS):
        answer = kinesis.get_records(ShardIterator=iterator, Limit=LOOKED_AT - len(found))
        found += answer["Records"]
        iterator = answer.get("NextShardIterator")
        if len(found) >= LOOKED_AT or not iterator or not answer.get("MillisBehindLatest"):
            break
    return found

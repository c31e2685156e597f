"""Corrections where moto's Kinesis differs from the service.

| moto 5.2                                                  | Kinesis                                   |
| --------------------------------------------------------- | ----------------------------------------- |
| a closed shard stays routable, its records move to a child| open shards only; records stay            |
| a closed shard's iterator never ends                      | `NextShardIterator` null and `ChildShards`|
| a shard's last hash key belongs to no shard               | `EndingHashKey` is inclusive              |
| sequence numbers start at 1 in every shard                | unique in the stream, ever increasing     |
| `OpenShardCount` is the number at creation                | follows splits and merges                 |
| a request of PutRecords may have 5 MiB                    | 10 MiB                                    |
| tags of CreateStream are ignored                          | the stream has them                       |
| ListShards knows no `ShardFilter`                         | those open at a time, or from then on     |
| GetRecords scans the shard from its start, has no byte cap| at most 10 MiB a call                     |

`correct()` applies them to moto, once per process.
"""

from __future__ import annotations

import itertools
import math
import threading
from bisect import bisect_right
from operator import attrgetter
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import unix_time
from moto.kinesis import models, responses
from moto.kinesis.exceptions import (
    InvalidArgumentError,
    RecordSizeExceedsLimit,
    TooManyRecords,
    TotalRecordsSizeExceedsLimit,
)
from moto.kinesis.utils import compose_shard_iterator, decompose_shard_iterator
from moto.utilities.utils import md5_hash

MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_RECORD_BYTES = 1024 * 1024
MAX_GET_BYTES = 10 * 1024 * 1024

_sequence_numbers = itertools.count(1)
_lock = threading.RLock()


class Shard(models.Shard):
    """A shard that finds records by bisection and keeps them when it is closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._keys: list[int] = []
        self._list: list[models.Record] = []
        self._first = next(_sequence_numbers)
        self._opened, self._closed = unix_time(), math.inf

    def get_records(self, last_sequence_id: str, limit: int | None) -> tuple[list[models.Record], int, int]:
        start = bisect_right(self._keys, int(last_sequence_id))
        found: list[models.Record] = []
        size = 0
        for record in itertools.islice(self._list, start, start + (limit or 10_000)):
            size += len(record.data) * 3 // 4
            if found and size > MAX_GET_BYTES:
                break
            found.append(record)
        end = start + len(found)
        last = self._keys[end - 1] if found else int(last_sequence_id)
        behind = 0.0
        if end < len(self._list):
            behind = unix_time() - self._list[end].created_at
        return found, last, int(max(behind, 0) * 1000)

    def put_record(self, partition_key: str, data: str, explicit_hash_key: str) -> str:
        number = next(_sequence_numbers)
        self._list.append(models.Record(partition_key, data, number, explicit_hash_key))
        self._keys.append(number)
        return str(number)

    def get_min_sequence_number(self) -> int:
        return self._keys[0] if self._keys else self._first

    def get_max_sequence_number(self) -> int:
        return self._keys[-1] if self._keys else self._first

    def get_sequence_number_at(self, at_timestamp: float) -> int:
        earlier = [r.sequence_number for r in self._list if r.created_at < at_timestamp]
        return earlier[-1] if earlier else 0

    def close(self) -> None:
        self.is_open, self._closed = False, unix_time()

    def was_open(self, since: float, until: float) -> bool:
        """Whether it was open at any moment of a time, in seconds."""
        return self._opened <= until and self._closed > since

    def holds(self, hash_key: int) -> bool:
        return self.is_open and self.starting_hash <= hash_key <= self.ending_hash

    def drained_by(self, sequence_number: int) -> bool:
        """Whether a reader at this sequence number has read a closed shard to its end."""
        return not self.is_open and not (self._keys and self._keys[-1] > sequence_number)


def _split_shard(self: models.Stream, shard_to_split: str, new_starting_hash_key: str) -> None:
    shard, boundary = self.get_shard(shard_to_split), int(new_starting_hash_key)
    if not shard.is_open or not shard.starting_hash < boundary < shard.ending_hash:
        raise InvalidArgumentError(f"NewStartingHashKey {boundary} cannot split {shard.shard_id}")
    with _lock:
        shard.close()  # type: ignore[attr-defined]
        for first, last in ((shard.starting_hash, boundary - 1), (boundary, shard.ending_hash)):
            child = Shard(_next_id(self), first, last, parent=shard.shard_id)
            self.shards[child.shard_id] = child


def _merge_shards(self: models.Stream, shard_to_merge: str, adjacent_shard_to_merge: str) -> None:
    pair = [self.get_shard(shard_to_merge), self.get_shard(adjacent_shard_to_merge)]
    low, high = sorted(pair, key=attrgetter("starting_hash"))
    if not (low.is_open and high.is_open) or low.ending_hash + 1 != high.starting_hash:
        raise InvalidArgumentError(adjacent_shard_to_merge)
    with _lock:
        for shard in (low, high):
            shard.close()  # type: ignore[attr-defined]
        child = Shard(
            _next_id(self),
            low.starting_hash,
            high.ending_hash,
            parent=shard_to_merge,
            adjacent_parent=adjacent_shard_to_merge,
        )
        self.shards[child.shard_id] = child


def _next_id(stream: models.Stream) -> int:
    return max(shard._shard_id for shard in stream.shards.values()) + 1


def _get_shard_for_key(self: models.Stream, partition_key: str, explicit_hash_key: str) -> models.Shard | None:
    if not isinstance(partition_key, str) or not 1 <= len(partition_key) <= 256:
        raise InvalidArgumentError("partition_key")
    key = int(
        explicit_hash_key or md5_hash(partition_key.encode()).hexdigest(),
        10 if explicit_hash_key else 16,
    )
    return next((shard for shard in self.shards.values() if shard.holds(key)), None)  # type: ignore[attr-defined]


def _put_records(
    self: models.KinesisBackend, stream_arn: str, stream_name: str, records: list[dict[str, Any]]
) -> dict[str, Any]:
    stream = self.describe_stream(stream_arn=stream_arn, stream_name=stream_name)
    if len(records) > 500:
        raise TooManyRecords
    sizes = [len(r["Data"]) * 3 // 4 + len(r["PartitionKey"]) for r in records]
    if sum(sizes) > MAX_REQUEST_BYTES:
        raise TotalRecordsSizeExceedsLimit
    for position, size in enumerate(sizes, start=1):
        if size > MAX_RECORD_BYTES:
            raise RecordSizeExceedsLimit(position=position)
    entries = []
    with _lock:
        for record in records:
            number, shard_id = stream.put_record(
                record["PartitionKey"], record.get("ExplicitHashKey", ""), record["Data"]
            )
            entries.append({"SequenceNumber": number, "ShardId": shard_id})
    self._send_stream_metrics(stream.stream_name, sum(sizes), len(records))
    return {"FailedRecordCount": 0, "Records": entries}


def _get_records(self: responses.KinesisResponse) -> ActionResult:
    iterator = self._get_param("ShardIterator")
    stream_name, shard_id, position = decompose_shard_iterator(iterator)
    stream = self.kinesis_backend.describe_stream(self._get_param("StreamARN"), stream_name)
    shard = stream.get_shard(shard_id)
    assert isinstance(shard, Shard)
    with _lock:
        records, last, behind = shard.get_records(position, self._get_param("Limit"))
        drained = shard.drained_by(last)
    result: dict[str, Any] = {
        "Records": [record.to_json() for record in records],
        "MillisBehindLatest": behind,
    }
    if drained:
        result["ChildShards"] = [_child(child) for child in _children(stream, shard)]
    else:
        result["NextShardIterator"] = compose_shard_iterator(stream_name, shard, last)
    return ActionResult(result)


def _list_shards(self: responses.KinesisResponse) -> ActionResult:
    """Filters by what was open, as https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ShardFilter.html has it.

    The first page bears the filter; its token stands for it, and for all of them here one page is enough.
    """
    wanted = self._get_param("ShardFilter")
    if not wanted:
        return _stock_list_shards(self)
    kind = wanted["Type"]
    stream = self.kinesis_backend.describe_stream(self._get_param("StreamARN"), self._get_param("StreamName"))
    shards = sorted(stream.shards.values(), key=attrgetter("shard_id"))
    if kind == "AFTER_SHARD_ID":
        chosen = [shard for shard in shards if shard.shard_id > wanted["ShardId"]]
    else:
        # Nothing is trimmed here, so at the horizon all of the first shards have just been opened.
        horizon = max(shard._opened for shard in shards if not shard.parent)  # type: ignore[attr-defined]
        since = {"AT_LATEST": unix_time(), "AT_TRIM_HORIZON": horizon, "FROM_TRIM_HORIZON": horizon}.get(kind)
        since = max(float(wanted["Timestamp"]), horizon) if since is None else since
        until = math.inf if kind.startswith("FROM_") else since
        chosen = [shard for shard in shards if shard.was_open(since, until)]  # type: ignore[attr-defined]
    return ActionResult({"Shards": [shard.to_json() for shard in chosen]})


_stock_list_shards = responses.KinesisResponse.list_shards


def _children(stream: models.Stream, parent: models.Shard) -> list[models.Shard]:
    return [s for s in stream.shards.values() if parent.shard_id in (s.parent, s.adjacent_parent)]


def _child(shard: models.Shard) -> dict[str, Any]:
    return {
        "ShardId": shard.shard_id,
        "ParentShards": [p for p in (shard.parent, shard.adjacent_parent) if p],
        "HashKeyRange": shard.to_json()["HashKeyRange"],
    }


def _summary(self: models.Stream) -> dict[str, Any]:
    summary = _stock_summary(self)
    summary["StreamDescriptionSummary"]["OpenShardCount"] = sum(shard.is_open for shard in self.shards.values())
    return summary


_stock_summary = models.Stream.to_json_summary


def _create_stream(self: responses.KinesisResponse) -> ActionResult:
    answer = _stock_create_stream(self)
    if tags := self._get_param("Tags"):
        self.kinesis_backend.add_tags_to_stream(None, self._get_param("StreamName"), tags)
    return answer


_stock_create_stream = responses.KinesisResponse.create_stream


def correct() -> None:
    """Applies the corrections to moto."""
    models.Shard = Shard  # type: ignore[misc]
    models.Stream.split_shard = _split_shard  # type: ignore[method-assign]
    models.Stream.merge_shards = _merge_shards  # type: ignore[method-assign]
    models.Stream.get_shard_for_key = _get_shard_for_key  # type: ignore[method-assign]
    models.Stream.to_json_summary = _summary  # type: ignore[method-assign]
    models.KinesisBackend.put_records = _put_records  # type: ignore[method-assign]
    responses.KinesisResponse.create_stream = _create_stream  # type: ignore[method-assign]
    responses.KinesisResponse.get_records = _get_records  # type: ignore[method-assign]
    responses.KinesisResponse.list_shards = _list_shards  # type: ignore[method-assign]

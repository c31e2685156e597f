"""Staying below what a shard takes: 1 MiB and 1 000 records a second."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

SHARD_BYTES_PER_SECOND: Final = 1024 * 1024
SHARD_RECORDS_PER_SECOND: Final = 1000
# Kept free, because the service's clock is not ours.
HEADROOM: Final = 0.95


class TokenBucket:
    """Allows a rate, with bursts of at most one second's worth."""

    def __init__(self, per_second: float, now: float) -> None:
        self._rate, self._tokens, self._at = per_second, per_second, now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much may pass; more than a second's worth passes with a full bucket."""
        self._refill(now)
        return max(0.0, (min(amount, self._rate) - self._tokens) / self._rate)

    def take(self, amount: float, now: float) -> None:
        """Lets so much pass; may leave a debt."""
        self._refill(now)
        self._tokens -= amount

    def _refill(self, now: float) -> None:
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now


@dataclass(frozen=True, slots=True)
class Shard:
    """An open shard and the hash keys it takes, both ends included."""

    shard_id: str
    first_hash: int
    last_hash: int


class Pacer:
    """Paces each shard of a stream.

    Args:
        shards: The open shards.
        now: Seconds of the clock that the other methods are given.
    """

    def __init__(self, shards: list[Shard], now: float) -> None:
        self._shards = shards
        self._shard_ids: dict[str, str] = {}
        self._buckets = {
            shard.shard_id: (
                TokenBucket(SHARD_BYTES_PER_SECOND * HEADROOM, now),
                TokenBucket(SHARD_RECORDS_PER_SECOND * HEADROOM, now),
            )
            for shard in shards
        }

    def shard_of(self, partition_key: str) -> str:
        """Where Kinesis puts a key: by its MD5."""
        if partition_key not in self._shard_ids:
            self._shard_ids[partition_key] = self._find(partition_key)
        return self._shard_ids[partition_key]

    def _find(self, partition_key: str) -> str:
        key = int(hashlib.md5(partition_key.encode(), usedforsecurity=False).hexdigest(), 16)
        for shard in self._shards:
            if shard.first_hash <= key <= shard.last_hash:
                return shard.shard_id
        return self._shards[0].shard_id

    def wait(self, partition_key: str, size: int, now: float) -> float:
        """Seconds until the key's shard takes a record of this size."""
        data, records = self._buckets[self.shard_of(partition_key)]
        return max(data.wait(size, now), records.wait(1, now))

    def take(self, partition_key: str, size: int, now: float) -> None:
        """Counts a record that is sent."""
        data, records = self._buckets[self.shard_of(partition_key)]
        data.take(size, now)
        records.take(1, now)


def open_shards(kinesis: Any, stream: str) -> list[Shard]:
    """Lists a stream's open shards."""
    shards: list[Shard] = []
    arguments: dict[str, Any] = {"StreamName": stream}
    while True:
        page = kinesis.list_shards(**arguments)
        for shard in page["Shards"]:
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]:
                hashes = shard["HashKeyRange"]
                first, last = int(hashes["StartingHashKey"]), int(hashes["EndingHashKey"])
                shards.append(Shard(shard["ShardId"], first, last))
        if not page.get("NextToken"):
            return shards
        arguments = {"NextToken": page["NextToken"]}

"""Spreads sources over shards, and stays below a shard's limits: 1 MiB and 1 000 records a second."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

SHARD_BYTES_PER_SECOND: Final = 1024 * 1024
SHARD_RECORDS_PER_SECOND: Final = 1000
# A margin, because the service's clock differs from this machine's.
HEADROOM: Final = 0.95
HASH_KEYS: Final = 2**128


class TokenBucket:
    """Allows a rate, with bursts of at most one second's amount."""

    def __init__(self, per_second: float, now: float) -> None:
        self._rate, self._tokens, self._at = per_second, per_second, now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until this amount may pass; more than a second's amount passes when the bucket is full."""
        self._refill(now)
        return max(0.0, (min(amount, self._rate) - self._tokens) / self._rate)

    def take(self, amount: float, now: float) -> None:
        """Takes this amount out of the bucket; may leave a debt."""
        self._refill(now)
        self._tokens -= amount

    def _refill(self, now: float) -> None:
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now


@dataclass(frozen=True, slots=True)
class Shard:
    """An open shard and its range of hash keys, both ends included."""

    shard_id: str
    first_hash: int
    last_hash: int


def spread(sources: Sequence[str]) -> dict[str, int]:
    """Gives each source a hash key: equal steps through all hash keys, starting at the key of the first source's name.

    So equal shards, however many there are or will be, get equal shares of the sources. With random keys, two of four
    cameras would meet on one of four shards nine times in ten. A key never changes, so a source's frames stay in order:
    after a resharding they go to the child that has the key, and KCL reads a child after its parents.
    """
    if not sources:
        return {}
    start = int(hashlib.md5(sources[0].encode(), usedforsecurity=False).hexdigest(), 16)
    return {source: (start + HASH_KEYS * turn // len(sources)) % HASH_KEYS for turn, source in enumerate(sources)}


class Pacer:
    """Paces each shard.

    Args:
        shards: The open shards.
        now: The time in seconds, by the clock that the other methods use.
    """

    def __init__(self, shards: Sequence[Shard], now: float) -> None:
        self._shards = sorted(shards, key=lambda shard: shard.first_hash)
        self._buckets = {
            shard.shard_id: (
                TokenBucket(SHARD_BYTES_PER_SECOND * HEADROOM, now),
                TokenBucket(SHARD_RECORDS_PER_SECOND * HEADROOM, now),
            )
            for shard in shards
        }

    def knows(self, shard_id: str) -> bool:
        """Whether this shard was open when the shards were listed."""
        return shard_id in self._buckets

    def shard_of(self, hash_key: int) -> str:
        """The shard of a hash key."""
        # During a resharding, the list may lack the shard of a key; the shard before it stands in.
        place = bisect_right(self._shards, hash_key, key=lambda shard: shard.first_hash)
        return self._shards[max(0, place - 1)].shard_id

    def wait(self, hash_key: int, size: int, now: float) -> float:
        """Seconds until the key's shard takes a record of this size."""
        data, records = self._buckets[self.shard_of(hash_key)]
        return max(data.wait(size, now), records.wait(1, now))

    def take(self, hash_key: int, size: int, now: float) -> None:
        """Counts a sent record."""
        data, records = self._buckets[self.shard_of(hash_key)]
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

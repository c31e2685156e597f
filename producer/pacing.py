"""Where a source's frames go, and staying below what a shard takes: 1 MiB and 1 000 records a second."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
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
    """Spreads sources over the shards of a stream, and paces each shard.

    A source goes where Kinesis would put it, by the hash of its partition key, unless that shard has its fair share of
    this producer's sources already: chance would put two of four cameras on one of four shards nine times in ten.

    Args:
        shards: The open shards.
        now: Seconds of the clock that the other methods are given.
        sources: Those that are spread, in this order; others go by their hash.
        before: Of the stream before it was resharded. A source then stays within what was its shard, because KCL reads
            a shard's children after it: so its frames stay in order.
    """

    def __init__(
        self, shards: list[Shard], now: float, sources: Sequence[str] = (), before: Pacer | None = None
    ) -> None:
        self._shards = shards
        self._moved = self._spread({source: self._heirs(source, before) for source in sources})
        self._buckets = {
            shard.shard_id: (
                TokenBucket(SHARD_BYTES_PER_SECOND * HEADROOM, now),
                TokenBucket(SHARD_RECORDS_PER_SECOND * HEADROOM, now),
            )
            for shard in shards
        }

    def knows(self, shard_id: str) -> bool:
        """Whether a shard was open when the shards were listed."""
        return shard_id in self._buckets

    def shard_of(self, source: str) -> str:
        """Where a source's frames go."""
        return self._place(source).shard_id

    def explicit_hash_key(self, source: str) -> str | None:
        """What takes a source to another shard than its partition key would; None if nothing needs to."""
        shard = self._moved.get(source)
        return str((shard.first_hash + shard.last_hash) // 2) if shard else None

    def _spread(self, choices: dict[str, list[Shard]]) -> dict[str, Shard]:
        """The sources that do not stay at home."""
        fair_share = math.ceil(len(choices) / len(self._shards))
        load = Counter[Shard]()
        crowded = []
        for source, shards in choices.items():
            home = self._home(source)
            if home in shards and load[home] < fair_share:
                load[home] += 1
            else:
                crowded.append(source)
        moved = {}
        for source in crowded:
            shard = moved[source] = min(choices[source], key=lambda shard: load[shard])
            load[shard] += 1
        return moved

    def _heirs(self, source: str, before: Pacer | None) -> list[Shard]:
        """The shards that a source may go to."""
        if before is None:
            return self._shards
        old = before._place(source)
        heirs = [
            shard for shard in self._shards if shard.first_hash <= old.last_hash and old.first_hash <= shard.last_hash
        ]
        return heirs or self._shards

    def _place(self, source: str) -> Shard:
        return self._moved.get(source) or self._home(source)

    def _home(self, source: str) -> Shard:
        """Where Kinesis puts a partition key: by its MD5."""
        key = int(hashlib.md5(source.encode(), usedforsecurity=False).hexdigest(), 16)
        return next((shard for shard in self._shards if shard.first_hash <= key <= shard.last_hash), self._shards[0])

    def wait(self, source: str, size: int, now: float) -> float:
        """Seconds until the source's shard takes a record of this size."""
        data, records = self._buckets[self.shard_of(source)]
        return max(data.wait(size, now), records.wait(1, now))

    def take(self, source: str, size: int, now: float) -> None:
        """Counts a record that is sent."""
        data, records = self._buckets[self.shard_of(source)]
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

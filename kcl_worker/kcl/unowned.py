"""Shards that nobody reads: open ones without a lease, and leases that nobody renews, or who does so does not read.

No other figure shows them. A worker knows of the shards that it holds, and CloudWatch's iterator age is that of reads
that were made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kcl_worker.kcl.lease_table import Lease


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the stream; it is open while records can be put on it."""

    shard_id: str
    parents: tuple[str, ...]
    open: bool


@dataclass(frozen=True, slots=True)
class Unowned:
    """A shard that nobody reads.

    Attributes:
        seconds: For so long, as far as we have looked.
    """

    shard_id: str
    seconds: float
    why: str


def list_shards(kinesis: Any, stream: str) -> list[Shard]:
    """All shards that the stream has, those that are closed and still hold records included."""
    pages = kinesis.get_paginator("list_shards").paginate(StreamName=stream)
    return [
        Shard(
            shard["ShardId"],
            tuple(shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in shard),
            "EndingSequenceNumber" not in shard["SequenceNumberRange"],
        )
        for page in pages
        for shard in page["Shards"]
    ]


def without_lease(shards: Collection[Shard], leases: Collection[Lease]) -> set[str]:
    """Open shards that have no lease, and whose parents are not being read either.

    The lease of a shard is made when one of its parents has been read to its end (`ShutdownTask`).
    """
    known = {lease.key for lease in leases}
    return {shard.shard_id for shard in shards if shard.open} - known - waiting_for_parents(shards, leases)


def waiting_for_parents(shards: Collection[Shard], leases: Collection[Lease]) -> set[str]:
    """Shards that are not read yet, because a parent of theirs is still being read, or one of its parents."""
    unfinished = {lease.key for lease in leases if not lease.finished}
    children = [shard for shard in shards if shard.parents]
    return {shard.shard_id for shard in children if not unfinished.isdisjoint(_ancestors(shard, shards))}


def unowned(
    leases: Collection[Lease],
    still: Callable[[str], float],
    neglected: Mapping[str, float],
    missing: Collection[str],
    absent: Callable[[str], float],
    failover: float,
) -> list[Unowned]:
    """What nobody reads, by shard.

    Args:
        still: Seconds for which a lease, by its key, has not changed.
        neglected: Leases, by their keys, that are renewed and not read, and for how many seconds.
        missing: Shards that should have a lease and have none.
        absent: Seconds for which a shard has been one of them.
        failover: Seconds after which a lease that is not renewed is nobody's.
    """
    found = [Unowned(shard_id, absent(shard_id), "it has no lease") for shard_id in missing]
    for lease in leases:
        if lease.finished:
            continue
        if lease.orphaned:
            found.append(Unowned(lease.key, still(lease.key), "its hand-over has lost the new owner"))
        elif lease.holder is None:
            found.append(Unowned(lease.key, still(lease.key), "its lease is free"))
        elif still(lease.key) > failover:
            found.append(Unowned(lease.key, still(lease.key), f"{lease.holder} does not renew its lease"))
        elif lease.key in neglected:
            found.append(
                Unowned(lease.key, neglected[lease.key], f"{lease.holder} renews its lease and does not read it")
            )
    return sorted(found, key=lambda shard: shard.shard_id)


def _ancestors(shard: Shard, shards: Collection[Shard]) -> set[str]:
    """The ids of a shard's parents, their parents, and so on."""
    by_id = {known.shard_id: known for known in shards}
    found: set[str] = set()
    waiting = list(shard.parents)
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting += by_id[parent].parents if parent in by_id else ()
    return found

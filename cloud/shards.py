"""A stream's shards, and which of them wait for others: a shard is read after its parents."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard of the stream; it is open while records can be put on it."""

    shard_id: str
    parents: tuple[str, ...]
    open: bool


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


def kin(shards: Collection[Shard], shard_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The shards from which a shard was split or merged, and the other children of these."""
    parents = next((shard.parents for shard in shards if shard.shard_id == shard_id), ())
    children = (shard.shard_id for shard in shards if not set(parents).isdisjoint(shard.parents))
    return parents, tuple(child for child in children if child != shard_id)


def without_lease(shards: Collection[Shard], finished: Mapping[str, bool]) -> set[str]:
    """Open shards that have no lease, and whose parents are not being read either.

    The lease of a shard is made when one of its parents has been read to its end (KCL's `ShutdownTask`).

    Args:
        finished: For each lease, by its shard, whether the shard has been read to its end.
    """
    return {shard.shard_id for shard in shards if shard.open} - finished.keys() - waiting_for_parents(shards, finished)


def waiting_for_parents(shards: Collection[Shard], finished: Mapping[str, bool]) -> set[str]:
    """Shards that are not read yet, because a parent of theirs is still being read, or one of its parents.

    Args:
        finished: As for `without_lease`.
    """
    unfinished = {key for key, done in finished.items() if not done}
    by_id = {shard.shard_id: shard for shard in shards}
    return {shard.shard_id for shard in shards if not unfinished.isdisjoint(_ancestors(shard, by_id))}


def _ancestors(shard: Shard, by_id: Mapping[str, Shard]) -> set[str]:
    """The ids of a shard's parents, their parents, and so on."""
    found: set[str] = set()
    waiting = list(shard.parents)
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting += by_id[parent].parents if parent in by_id else ()
    return found

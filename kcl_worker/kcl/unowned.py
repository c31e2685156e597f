"""Shards that nobody reads: open ones without a lease, and leases that nobody renews, or who does so does not read.

No other figure shows them. A worker knows of the shards that it holds, and CloudWatch's iterator age is that of reads
that were made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from kcl_worker.kcl.lease_table import Lease


@dataclass(frozen=True, slots=True)
class Unowned:
    """A shard that nobody reads.

    Attributes:
        seconds: For so long, as far as we have looked.
    """

    shard_id: str
    seconds: float
    why: str


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

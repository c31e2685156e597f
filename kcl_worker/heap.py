"""How much heap the daemon's JVM has, and how many leases fit it.

A shard with a backlog takes its batch several times over: as Kinesis has sent it, at most 10 MiB; as records that wait
and as records at work; and as the text in which a record processor is given them. Measured with frames of 382 KiB, of
which 25 make such a batch: 4 leases need more than 192 MiB and 8 more than 352; 8 go through 384.
"""

from __future__ import annotations

from typing import Final

LEASE_MIB: Final = 56
BASE_MIB: Final = 64
# Of a task's memory; the rest is for the model and for frames.
SHARE: Final = 4
# Four leases: a task that could not hold so many would hardly be worth its JVM.
LEAST_MIB: Final = BASE_MIB + 4 * LEASE_MIB
MOST_MIB: Final = 2048


def heap_mib(task_mib: int) -> int:
    """The heap in a task with so much memory, both in MiB."""
    return min(MOST_MIB, max(LEAST_MIB, task_mib // SHARE))


def leases_in(heap_mib: int) -> int:
    """The number of leases that fit a heap, at least one."""
    return max(1, (heap_mib - BASE_MIB) // LEASE_MIB)

"""Which leases does nobody read, and who shall have them? Decided from what was seen; nothing is changed here.

KCL's leader gives free and expired leases away every two seconds, so these rules leave it the time to do so, and come
in where it cannot: where there is none (`leader`), and where a hand-over has lost one of its sides (`lease_table`):

| state | seen | then |
| --- | --- | --- |
| free | for two rounds of the leader, at once where there is none | assigned |
| held | its holder is dead | assigned |
| held | its holder lives, and has not renewed it for the failover time and two rounds | assigned to another |
| held | its holder renews it, and has not read it for a minute | assigned, perhaps to the same one, which begins anew |
| handed over | the old owner is dead, or drops or does not read it | the new one has it; assigned if it is dead |
| handed over | the new owner is dead, and the old one renews | the old one keeps it |
| nobody's | | assigned |

A hand-over whose old owner renews and whose new one lives is KCL's for as long as KCL gives itself
(`gracefulLeaseHandoffTimeoutMillis`). Then it has failed: KCL 3.1.3 forgets a hand-over when the old owner could not
renew for a moment (`LeaseGracefulShutdownHandler.monitorGracefulShutdownLeases`) or the change of owners was refused
(`ShutdownNotificationTask.attemptLeaseTransfer`), and goes on renewing for ever what it no longer reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from kcl_worker.kcl.lease_table import Lease
from kcl_worker.kcl.signs import SignsOfLife

# Two rounds of `LeaseAssignmentManager`, and what they take.
LEADER_SECONDS: Final = 5.0
# Where there is no leader: one that has just been elected may be at it.
LEADERLESS_SECONDS: Final = 1.0


class Change(Enum):
    """What is done to a lease."""

    ASSIGN = "assigned"
    FINISH_HAND_OVER = "left to its new owner"
    CALL_OFF_HAND_OVER = "left to its old owner"


@dataclass(frozen=True, slots=True)
class Repair:
    """A lease that nobody reads, and what helps.

    Attributes:
        owner: Who has it then.
    """

    lease: Lease
    change: Change
    owner: str
    why: str


class Candidates:
    """Workers that can be given leases, the one with the fewest first.

    Args:
        most: Leases that a worker may have.
    """

    def __init__(self, workers: Collection[str], leases: Collection[Lease], most: int) -> None:
        self._number = Counter(lease.owner for lease in leases if lease.owner in workers and not lease.finished)
        self._workers, self._most = sorted(workers), most

    def take(self, *, but: str | None = None) -> str | None:
        """The next one; None if all have enough."""
        able = [worker for worker in self._workers if worker != but and self._number[worker] < self._most]
        chosen = min(able, key=lambda worker: self._number[worker], default=None)
        if chosen:
            self._number[chosen] += 1
        return chosen


@dataclass(frozen=True, slots=True)
class Seen:
    """What the looks at this application's tables have shown so far.

    Attributes:
        still: Seconds for which a lease, by its key, has not changed.
        neglected: Leases, by their keys, that are renewed and not read.
        patience: Seconds after which whoever gives no sign counts as dead.
        led: Whether there is a leader.
    """

    signs: SignsOfLife
    still: Callable[[str], float]
    neglected: Collection[str]
    patience: float
    led: bool


def repairs(leases: Collection[Lease], seen: Seen, candidates: Candidates) -> list[Repair]:
    """What is to be done; finished leases come last."""
    ordered = sorted(leases, key=lambda lease: (lease.finished, lease.key))
    return [repair for lease in ordered if (repair := _repair(lease, seen, candidates))]


def _repair(lease: Lease, seen: Seen, candidates: Candidates) -> Repair | None:
    still, dead, neglected = seen.still(lease.key), seen.signs.dead, lease.key in seen.neglected
    why, but = None, None
    if lease.orphaned:
        why = "its hand-over has lost the new owner"
    elif lease.owner is None:
        if still >= (LEADER_SECONDS if seen.led else LEADERLESS_SECONDS):
            why = "it was free"
    elif lease.checkpoint_owner is None:
        if dead(lease.owner):
            why, but = "its owner is dead", lease.owner
        elif still >= seen.patience + LEADER_SECONDS and not lease.finished:
            why, but = "its owner does not renew it", lease.owner
        elif neglected:
            why = "its owner does not read it"
    elif still >= seen.patience or dead(lease.checkpoint_owner) or neglected:
        if not dead(lease.owner):
            return Repair(lease, Change.FINISH_HAND_OVER, lease.owner, "its old owner does not hand it over")
        why, but = "neither side of its hand-over lives and reads it", lease.owner
    elif dead(lease.owner):
        return Repair(lease, Change.CALL_OFF_HAND_OVER, lease.checkpoint_owner, "its new owner is dead")
    if why and (owner := candidates.take(but=but)):
        return Repair(lease, Change.ASSIGN, owner, why)
    return None

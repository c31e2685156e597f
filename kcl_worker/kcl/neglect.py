"""Leases that are renewed though nobody reads their shards.

A lease that its holder renews looks well to all others. What a shard's holder alone knows is whether a record processor
of its own reads it; of a hand-over, everybody knows how long it takes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from cloud.shards import Shard, waiting_for_parents
from kcl_worker.kcl.lease_table import Lease
from kcl_worker.kcl.signs import Standing

# The record processor of a shard that is handed over ends before the hand-over does, by a call of DynamoDB.
AFTER_READING_SECONDS: Final = 5.0
# A record processor starts within seconds of its lease, on a machine with many of them and few cores within twenty.
NEVER_READ_SECONDS: Final = 60.0
# What KCL takes to notice that its time for a hand-over is over (`LeaseGracefulShutdownHandler`), and more.
HAND_OVER_MARGIN_SECONDS: Final = 5.0
HAND_OVER_MILLIS: Final = 30_000


def hand_over_seconds(daemon: Mapping[str, str]) -> float:
    """What a hand-over may take, by the daemon's properties."""
    millis = float(daemon.get("gracefulLeaseHandoffTimeoutMillis", HAND_OVER_MILLIS))
    return millis / 1000 + HAND_OVER_MARGIN_SECONDS


class Neglect:
    """Counts for how long leases have not been read.

    Args:
        me: This worker's id.
        standing: Counts for how long a lease has had its owners.
        hand_over: Seconds that a hand-over may take.
    """

    def __init__(self, me: str, standing: Standing, hand_over: float) -> None:
        self._me, self._standing, self._hand_over = me, standing, hand_over
        self._found: dict[str, float] = {}

    def look(self, leases: Collection[Lease], reading: Collection[str], shards: Collection[Shard]) -> None:
        """Takes the leases, the shards that this worker reads, and all that there are."""
        waiting = waiting_for_parents(shards, {lease.key: lease.finished for lease in leases})
        states = {lease.key: _State(lease, lease.key in reading, lease.key in waiting) for lease in leases}
        self._standing.look({key: state.standing for key, state in states.items()})
        self._found = {
            key: self._standing.seconds(key)
            for key, state in states.items()
            if self._standing.seconds(key) >= self._limit(state)
        }

    def forget(self) -> None:
        """A look has failed: the row is broken."""
        self._standing.forget()
        self._found = {}

    def begin_anew(self, key: str) -> None:
        """A lease has been given away, perhaps to the one who had it."""
        self._standing.begin_anew(key)

    def found(self) -> dict[str, float]:
        """Leases, by their keys, that are not read though they should be, and for how many seconds."""
        return self._found

    def _limit(self, state: _State) -> float:
        lease, ours = state.lease, state.lease.holder == self._me and not state.read
        if lease.finished:
            return math.inf
        if lease.owner and lease.checkpoint_owner:
            return AFTER_READING_SECONDS if ours else self._hand_over
        return NEVER_READ_SECONDS if ours and not state.waits else math.inf


@dataclass(frozen=True, slots=True)
class _State:
    """A lease, whether we read its shard, and whether that waits for its parents."""

    lease: Lease
    read: bool
    waits: bool

    @property
    def standing(self) -> Hashable:
        """All of it that a renewal leaves as it is."""
        return self.lease.owner, self.lease.checkpoint_owner, self.lease.finished, self.read, self.waits

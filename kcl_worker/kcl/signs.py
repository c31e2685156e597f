"""For how long has something stood still? Told by an unbroken row of looks at it.

Whoever looks cannot tell a worker that is dead from one that could not write because DynamoDB was away, except by
having looked all the time. So a look that fails begins the row anew, and the time between two looks counts for so much
and no more: what happened in a longer pause, of our process or of an answer, nobody has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping

from kcl_worker.kcl.lease_table import Lease


class Standing:
    """Counts for how long values are the same.

    Args:
        clock: Seconds that never go back.
        longest_gap: Seconds for which the time between two looks counts at most.
    """

    def __init__(self, clock: Callable[[], float], longest_gap: float) -> None:
        self._clock, self._longest_gap = clock, longest_gap
        self._looked: float | None = None
        self._values: dict[str, Hashable] = {}
        self._seconds: dict[str, float] = {}

    def look(self, values: Mapping[str, Hashable]) -> None:
        """Takes what a successful look has seen; what it has not seen is forgotten."""
        now = self._clock()
        gap = 0.0 if self._looked is None else min(now - self._looked, self._longest_gap)
        same = {key for key, value in values.items() if key in self._values and self._values[key] == value}
        self._seconds = {key: self._seconds[key] + gap if key in same else 0.0 for key in values}
        self._values, self._looked = dict(values), now

    def forget(self) -> None:
        """A look has failed: the row is broken."""
        self._looked, self._values, self._seconds = None, {}, {}

    def begin_anew(self, key: str) -> None:
        """Counts a value from now on, though it may stay the same."""
        self._seconds[key] = 0.0

    def seconds(self, key: str) -> float:
        """For how long a value has stood; 0 for one that is not known."""
        return self._seconds.get(key, 0.0)


class SignsOfLife:
    """Tells who of the workers lives: a worker reports every two seconds, and renews the leases that it holds.

    Args:
        patience: Seconds after which a worker that gives neither sign counts as dead.
    """

    def __init__(self, clock: Callable[[], float], longest_gap: float, patience: float) -> None:
        self._silence = Standing(clock, longest_gap)
        self._patience = patience
        self._reports: dict[str, str | None] = {}
        self._leases: dict[str, Lease] = {}
        self._signs: dict[str, int] = {}

    def look(self, reports: Mapping[str, str], leases: Collection[Lease]) -> None:
        """Takes the time of each worker's report, and the leases."""
        owners = {name for lease in leases for name in (lease.owner, lease.checkpoint_owner) if name}
        renewed = {lease.holder for lease in leases if self._renewed(lease)}
        seen: dict[str, str | None] = {worker: reports.get(worker) for worker in owners | reports.keys()}
        for worker, report in seen.items():
            reported = worker in self._reports and report is not None and self._reports[worker] != report
            if reported or worker in renewed:
                self._signs[worker] = self._signs.get(worker, 0) + 1
        self._signs = {worker: number for worker, number in self._signs.items() if worker in seen}
        self._silence.look({worker: self._signs.get(worker, 0) for worker in seen})
        self._reports, self._leases = seen, {lease.key: lease for lease in leases}

    def forget(self) -> None:
        """A look has failed: nobody is known to be dead, or alive."""
        self._silence.forget()
        self._reports, self._leases, self._signs = {}, {}, {}

    def dead(self, worker: str | None) -> bool:
        """Whether a worker has given no sign for so long that it must be dead."""
        return worker is not None and self._silence.seconds(worker) >= self._patience

    def lively(self) -> set[str]:
        """Workers that have given a sign lately, reported ones: they can be given leases."""
        return {
            worker
            for worker, report in self._reports.items()
            if report is not None and worker in self._signs and self._silence.seconds(worker) < self._patience / 2
        }

    def _renewed(self, lease: Lease) -> bool:
        before = self._leases.get(lease.key)
        return (
            before is not None
            and (before.owner, before.checkpoint_owner) == (lease.owner, lease.checkpoint_owner)
            and lease.counter > before.counter
        )

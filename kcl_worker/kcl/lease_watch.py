"""Sees to it that every shard is read: looks at the leases, mends what KCL leaves lying, and says what nobody reads.

Each worker looks four times in the failover time: at the leader's lock, the workers' reports and the leases. It knows
a dead worker by its silence (`signs`), frees a dead leader's lock (`leader`), and gives leases that nobody renews, or
that are renewed and not read (`neglect`), to living workers (`repairs`). Any number of workers may do so at once: every
change is conditional on what was seen.

A look costs two scans of small tables and one read: 1.5 read units for a few shards and workers, 10 for a hundred of
each. So in a larger fleet three workers look so often, and the others now and then, lest those three die.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

from cloud.errors import ERRORS, code_of
from cloud.shards import Shard, list_shards, without_lease
from kcl_worker.kcl import leader, reports
from kcl_worker.kcl.daemon import most_leases, properties
from kcl_worker.kcl.lease_table import Lease, LeaseTable
from kcl_worker.kcl.neglect import Neglect, hand_over_seconds
from kcl_worker.kcl.repairs import Candidates, Change, Repair, Seen, repairs
from kcl_worker.kcl.signs import SignsOfLife, Standing
from kcl_worker.kcl.unowned import Unowned, unowned
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

LOOKS_PER_FAILOVER: Final = 4
# Workers that look so often, the first by name; each of the others looks ten times less.
WATCHERS: Final = 3
REST_FACTOR: Final = 10
# Three reports, which a worker makes every two seconds: fewer that are late say nothing.
LEAST_PATIENCE_SECONDS: Final = 6.0
# Shards come and go by resharding alone. Kinesis allows 1000 such calls a second.
SHARDS_SECONDS: Final = 30.0


class LeaseWatch:
    """Watches the leases of this application.

    Args:
        reading: Gives the shards that this worker reads.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        dynamodb: Any,
        kinesis: Any,
        reading: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reading = reading
        self._settings, self._dynamodb, self._kinesis, self._clock = settings, dynamodb, kinesis, clock
        self._table = LeaseTable(dynamodb, settings.lease_table)
        self._patience = max(settings.kcl_failover_seconds, LEAST_PATIENCE_SECONDS)
        self._interval = self._patience / LOOKS_PER_FAILOVER
        # What passes between two looks counts for twice what should: see `signs`.
        self._still = Standing(clock, 2 * self._interval)
        self._missing = Standing(clock, 2 * self._interval)
        self._signs = SignsOfLife(clock, 2 * self._interval, self._patience)
        daemon = properties(settings, Path())
        self._most = most_leases(daemon)
        self._neglect = Neglect(settings.worker_id, Standing(clock, 2 * self._interval), hand_over_seconds(daemon))
        self._shards: list[Shard] = []
        self._listed: float | None = None
        self._unowned: list[Unowned] | None = None
        self._leaving = False

    async def leave(self) -> None:
        """This worker ends: it takes no more leases, and the others are told to give it none."""
        self._leaving = True
        table, me = self._settings.report_table, self._settings.worker_id
        try:
            await asyncio.to_thread(reports.say_leaving, self._dynamodb, table, me)
        except ERRORS as error:
            logger.debug("nobody was told that this worker leaves: %s", code_of(error))

    def unowned(self) -> list[Unowned] | None:
        """The shards that nobody reads; None while that is not known."""
        return self._unowned

    async def run(self) -> None:
        """Looks until cancelled; what fails is tried again at the next look."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except ERRORS as error:
                self.forget()
                logger.debug("the leases were not looked at: %s", code_of(error))
            await asyncio.sleep(self._interval * (1 if self._watches() else REST_FACTOR))

    def look(self) -> list[Repair]:
        """Looks once and mends what it can; gives what it has mended."""
        leading = leader.owner(self._dynamodb, self._settings.coordinator_table)
        reported = reports.read(self._dynamodb, self._settings.report_table)
        leases = self._table.leases()
        self._note({worker: report.time for worker, report in reported.items()}, leases)
        if leading and leading != self._settings.worker_id and self._signs.dead(leading):
            if leader.free(self._dynamodb, self._settings.coordinator_table, leading):
                logger.warning("the leader gave no sign of life", extra={"leader": leading})
            leading = None
        leaving = {worker for worker, report in reported.items() if report.leaving}
        return [repair for repair in self._repairs(leases, leaving, led=leading is not None) if self._make(repair)]

    def forget(self) -> None:
        """A look has failed: only an unbroken row of looks says who is dead."""
        for standing in (self._still, self._missing, self._signs, self._neglect):
            standing.forget()
        self._unowned = None

    def _watches(self) -> bool:
        me = self._settings.worker_id
        return me in sorted(self._signs.lively() | {me})[:WATCHERS]

    def _note(self, reported: dict[str, str], leases: list[Lease]) -> None:
        self._signs.look(reported, leases)
        self._still.look({lease.key: (lease.counter, lease.owner, lease.checkpoint_owner) for lease in leases})
        self._list_shards()
        self._neglect.look(leases, self._reading(), self._shards)
        missing = without_lease(self._shards, {lease.key: lease.finished for lease in leases})
        self._missing.look(dict.fromkeys(missing, True))
        self._unowned = unowned(
            leases,
            self._still.seconds,
            self._neglect.found(),
            missing,
            self._missing.seconds,
            self._settings.kcl_failover_seconds,
        )

    def _list_shards(self) -> None:
        """Takes note of the stream's shards now and then. Leases are mended without it, too."""
        if self._listed is not None and self._clock() - self._listed < SHARDS_SECONDS:
            return
        self._listed = self._clock()
        try:
            self._shards = list_shards(self._kinesis, self._settings.kinesis_stream_name)
        except ERRORS as error:
            logger.debug("the shards were not listed: %s", code_of(error))

    def _repairs(self, leases: list[Lease], leaving: set[str], *, led: bool) -> list[Repair]:
        able = self._signs.lively() - leaving - ({self._settings.worker_id} if self._leaving else set())
        candidates = Candidates(able, leases, self._most)
        seen = Seen(self._signs, self._still.seconds, self._neglect.found(), self._patience, led)
        return repairs(leases, seen, candidates)

    def _make(self, repair: Repair) -> bool:
        match repair.change:
            case Change.ASSIGN:
                made = self._table.assign(repair.lease, repair.owner)
            case Change.FINISH_HAND_OVER:
                made = self._table.finish_hand_over(repair.lease)
            case Change.CALL_OFF_HAND_OVER:
                made = self._table.call_off_hand_over(repair.lease)
        if made:
            self._neglect.begin_anew(repair.lease.key)
            extra = {"shard_id": repair.lease.key, "owner": repair.owner, "why": repair.why}
            logger.warning("a lease that nobody read is %s", repair.change.value, extra=extra)
        return made

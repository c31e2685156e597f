"""Gives this worker's leases up when it leaves, so that another has them at once.

KCL keeps them until they expire, and for as long as the worker's last report is fresh they may even be assigned to it
again. After the last checkpoint they are given up, and the report and the leader's lock are removed. How a lease is
given up depends on the worker's part in it (`lease_table` has the states):

- the holder frees it, as KCL's own `evictLease` does;
- the old owner of a hand-over leaves it to the new one, or frees it if that one has gone;
- the new owner of a hand-over leaves it to the old one, which continues, or frees it if that one has gone.

Nothing here has to succeed: where it fails, KCL does the same by itself, only later, or `lease_watch` of another
worker does.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Final

from cloud.clients import client
from cloud.errors import ERRORS, code_of
from kcl_worker.kcl import leader, reports
from kcl_worker.kcl.lease_table import Lease, LeaseTable
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

# Looks for leases of ours: the leader may have begun another round before our report was gone.
PASSES: Final = 3


def release(settings: Settings) -> int:
    """Gives up this worker's leases; gives their number. Its daemon must have ended."""
    try:
        released = _release(settings, client("dynamodb", settings.aws_region))
    except ERRORS as error:
        logger.warning("leases are not released: %s", code_of(error))
        return 0
    logger.info("leases released", extra={"shards": released})
    return released


def _release(settings: Settings, dynamodb: Any) -> int:
    """Gives up what is ours until nothing is: a lease that changed meanwhile is looked at again."""
    me, table, released = settings.worker_id, LeaseTable(dynamodb, settings.lease_table), 0
    leader.free(dynamodb, settings.coordinator_table, me)
    reports.remove(dynamodb, settings.report_table, me)
    for _ in range(PASSES):
        ours = [lease for lease in table.leases(consistent=True) if me in (lease.owner, lease.checkpoint_owner)]
        if not ours:
            break
        there = reports.read(dynamodb, settings.report_table, consistent=True).keys()
        released += sum(_give_up(table, lease, me, there) for lease in ours)
    return released


def _give_up(table: LeaseTable, lease: Lease, me: str, there: Collection[str]) -> bool:
    if lease.checkpoint_owner == me and lease.owner in there:
        return table.finish_hand_over(lease)
    if lease.owner == me and lease.checkpoint_owner in there:
        return table.call_off_hand_over(lease)
    return table.free(lease)

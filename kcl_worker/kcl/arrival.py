"""Shortens the waits that KCL makes at a worker's start.

- **An empty lease table**: KCL waits 1 to 30 s at random, lest many new workers list the shards at once
  (`Scheduler.shouldInitiateLeaseSync` in KCL 3). Leases that are there already end the wait, so those that KCL would
  write are written first: conditionally, and only for a stream without parents and children.
- **No tables**: KCL makes its three one after the other, and looks once a second whether one is ready (`tables`).
- **No report**: no worker gets a lease before its first report of metrics, so an empty one is made for it.
- **Nobody who assigns**: KCL's leader gives leases away once it leads, in rounds. A worker that is alone takes the free
  ones beforehand. KCL begins with the leases that bear its name (`DynamoDBLeaseRenewer.initialize`).

Leases of an earlier stream of the same name make way for fresh ones (`stream_watch`).

Nothing here has to succeed: where it fails, KCL does the same by itself, only later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from cloud.clients import client
from cloud.errors import ERRORS, code_of, describe, may_pass
from kcl_worker.errors import ServiceError
from kcl_worker.kcl import leader, reports, tables
from kcl_worker.kcl.daemon import most_leases, properties
from kcl_worker.kcl.lease_table import LeaseTable
from kcl_worker.kcl.stream_watch import creation, of_another_stream
from kcl_worker.settings import Settings

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

# More shards than this start too rarely to be worth the writes before the daemon runs.
MAX_SHARDS: Final = 50


def prepare(settings: Settings, leaving: threading.Event | None = None) -> None:
    """Makes what the application has not: tables, leases; reports this worker, and takes what is free if it is alone.

    Args:
        leaving: Set once this worker ends: it is not reported and takes no lease any more.

    Raises:
        ServiceError: If the stream is missing or closed to us, or a table of another kind has the name of the leases'.
            KCL would try again for ever.
    """
    dynamodb, kinesis = client("dynamodb", settings.aws_region), client("kinesis", settings.aws_region)
    stream, me = settings.kinesis_stream_name, settings.worker_id
    table, leaving = LeaseTable(dynamodb, settings.lease_table), leaving or threading.Event()
    created = _attempt("the stream is not described", lambda: creation(kinesis, stream))
    names = settings.lease_table, settings.report_table, settings.coordinator_table
    _attempt("tables are not made", lambda: tables.make_missing(dynamodb, *names))
    if leaving.is_set():
        return
    _attempt("this worker is not reported early", lambda: reports.write(dynamodb, settings.report_table, me))
    if created is None:
        return
    removed = _attempt("leases are not compared with the stream", lambda: _remove(table, created)) or 0
    if removed:
        logger.warning("the stream was made again: its leases begin anew", extra={"removed": removed})
    seeded = _attempt("leases are not seeded", lambda: _seed(settings, kinesis, table, created, whole=removed > 0))
    if seeded:
        logger.info("leases seeded", extra={"shards": seeded})
    taken = _attempt("leases are not taken early", lambda: _take(settings, dynamodb, table, leaving))
    if taken:
        logger.info("leases taken", extra={"shards": taken})


def _attempt(failure: str, work: Callable[[], Result]) -> Result | None:
    try:
        return work()
    except ERRORS as error:
        logger.warning("%s: %s", failure, code_of(error))
        return None


def _remove(table: LeaseTable, created: str) -> int:
    """Removes the leases of an earlier stream of this name; gives their number."""
    leases = table.leases(consistent=True)
    if not of_another_stream(leases, created):
        return 0
    return sum(table.remove(lease) for lease in leases if lease.stream != created)


def _seed(settings: Settings, kinesis: Any, table: LeaseTable, created: str, *, whole: bool) -> int:
    """Writes the first leases into an empty table; gives their number.

    Args:
        whole: Whether also those of a large or resharded stream. At a first start they are left to KCL, which makes
            them at once if it finds none; when leases vanish later, it takes minutes to notice.
    """
    if not table.is_empty():
        return 0
    shards = _shards(settings.kinesis_stream_name, kinesis, whole=whole)
    if not whole and (len(shards) > MAX_SHARDS or any("ParentShardId" in shard for shard in shards)):
        return 0
    ids = {shard["ShardId"] for shard in shards}
    first = [shard for shard in shards if shard.get("ParentShardId") not in ids]
    return sum(table.add(shard, settings.initial_position, created) for shard in first)


def _take(settings: Settings, dynamodb: Any, table: LeaseTable, leaving: threading.Event) -> int:
    """Takes the free leases if no other worker is there, as many as the daemon may hold; gives their number.

    Who is there has a report or leads. Two workers that come at once see each other, and leave it to the leader; or the
    first has them all, as with KCL, and the leader evens them out.
    """
    me = settings.worker_id
    others = reports.read(dynamodb, settings.report_table, consistent=True).keys() - {me}
    if others or leader.owner(dynamodb, settings.coordinator_table) not in (None, me):
        return 0
    free = [lease for lease in table.leases(consistent=True) if lease.holder is None and not lease.finished]
    most = min(MAX_SHARDS, most_leases(properties(settings, Path())))
    return sum(not leaving.is_set() and table.assign(lease, me) for lease in free[:most])


def _shards(stream: str, kinesis: Any, *, whole: bool) -> list[dict[str, Any]]:
    """The shards of the stream, or the first of them, one more than are seeded."""
    limit = None if whole else MAX_SHARDS + 1
    pages = kinesis.get_paginator("list_shards").paginate(StreamName=stream, PaginationConfig={"MaxItems": limit})
    try:
        return [shard for page in pages for shard in page["Shards"]]
    except ClientError as error:
        if not may_pass(error):
            raise ServiceError(f"stream {stream}: {describe(error)}") from None
        raise

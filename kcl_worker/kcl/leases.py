"""Shortens the waits that KCL makes at a worker's start and end.

**At the start.** On an empty lease table KCL waits 1 to 30 s at random, lest many new workers list the
shards at once (`Scheduler.shouldInitiateLeaseSync` in KCL 3). Leases that are there already end the
wait, so those that KCL would write are written first: conditionally, and only for a stream without
parents and children. And no worker gets a lease before its first report of metrics, so an empty report
is made for it. Leases of an earlier stream of the same name make way for fresh ones (`stream_watch`).

**At the end.** A worker that leaves keeps its leases until they expire, and for as long as its last
report is fresh they may even be assigned to it again. After the last checkpoint they are given up,
and the report and the leader's lock are removed, so that another worker has them at once. How a lease is
given up depends on the worker's part in it (`lease_table` has the states):

- the holder frees it, as KCL's own `evictLease` does;
- the old owner of a hand-over leaves it to the new one, or frees it if that one has gone;
- the new owner of a hand-over leaves it to the old one, which continues, or frees it if that one has gone.

Nothing here has to succeed: where it fails, KCL does the same by itself, only later, or `lease_watch` of another
worker does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import ClientError

from cloud.clients import client
from cloud.errors import ERRORS, code_of, describe, may_pass
from cloud.streams import LEASE_STREAM
from kcl_worker.errors import ServiceError
from kcl_worker.kcl import leader
from kcl_worker.kcl.lease_table import Lease, LeaseTable
from kcl_worker.kcl.stream_watch import creation, of_another_stream
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

# More shards than this start too rarely to be worth the writes before the daemon runs.
MAX_SHARDS: Final = 50
# By which KCL finds the leases that a worker was given.
OWNER_INDEX: Final = "LeaseOwnerToLeaseKeyIndex"
# Looks for leases of ours at the end: the leader may have begun another round before our report was gone.
RELEASE_PASSES: Final = 3


def prepare(settings: Settings) -> None:
    """Reports this worker, and makes the lease table and its leases if the application has none.

    Raises:
        ServiceError: If the stream is missing or closed to us. KCL would try again for ever.
    """
    dynamodb = client("dynamodb", settings.aws_region)
    kinesis = client("kinesis", settings.aws_region)
    _attempt("this worker is not reported early", lambda: _report(settings, dynamodb))
    removed = _attempt("leases are not compared with the stream", lambda: _remove(settings, kinesis, dynamodb)) or 0
    seeded = _attempt("leases are not seeded", lambda: _seed(settings, kinesis, dynamodb, whole=removed > 0))
    if removed:
        logger.warning("the stream was made again: its leases begin anew", extra={"removed": removed})
    if seeded:
        logger.info("leases seeded", extra={"shards": seeded})


def release(settings: Settings) -> int:
    """Gives up this worker's leases; gives their number. Its daemon must have ended."""
    dynamodb = client("dynamodb", settings.aws_region)
    released = _attempt("leases are not released", lambda: _release(settings, dynamodb))
    logger.info("leases released", extra={"shards": released or 0})
    return released or 0


def _attempt(failure: str, work: Callable[[], int]) -> int | None:
    try:
        return work()
    except ERRORS as error:
        logger.warning("%s: %s", failure, code_of(error))
        return None


def _report(settings: Settings, dynamodb: Any) -> int:
    """Writes the empty report that the daemon itself would write two seconds after its start."""
    report = {
        "wid": {"S": settings.worker_id},
        "lut": {"N": str(int(time.time()))},
        "opr": {"M": {}},
        "sts": {"M": {}},
    }
    try:
        dynamodb.put_item(TableName=settings.report_table, Item=report)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":  # KCL makes the table at the first start
            raise
        return 0
    return 1


def _release(settings: Settings, dynamodb: Any) -> int:
    """Gives up what is ours until nothing is: a lease that changed meanwhile is looked at again."""
    me, table, released = settings.worker_id, LeaseTable(dynamodb, settings.lease_table), 0
    leader.free(dynamodb, settings.coordinator_table, me)
    dynamodb.delete_item(TableName=settings.report_table, Key={"wid": {"S": me}})
    for _ in range(RELEASE_PASSES):
        ours = [lease for lease in table.leases(consistent=True) if me in (lease.owner, lease.checkpoint_owner)]
        if not ours:
            break
        reporting = _reporting(dynamodb, settings.report_table)
        released += sum(_give_up(table, lease, me, reporting) for lease in ours)
    return released


def _give_up(table: LeaseTable, lease: Lease, me: str, reporting: set[str]) -> bool:
    if lease.checkpoint_owner == me and lease.owner in reporting:
        return table.finish_hand_over(lease)
    if lease.owner == me and lease.checkpoint_owner in reporting:
        return table.call_off_hand_over(lease)
    return table.free(lease)


def _reporting(dynamodb: Any, table: str) -> set[str]:
    """Workers that have a report: one that left in good order has none."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ProjectionExpression="wid", ConsistentRead=True)
    return {item["wid"]["S"] for page in pages for item in page["Items"]}


def _remove(settings: Settings, kinesis: Any, dynamodb: Any) -> int:
    """Removes the leases of an earlier stream of this name; gives their number."""
    created, table = creation(kinesis, settings.kinesis_stream_name), LeaseTable(dynamodb, settings.lease_table)
    try:
        leases = table.leases(consistent=True)
    except dynamodb.exceptions.ResourceNotFoundException:
        return 0
    if not of_another_stream(leases, created):
        return 0
    return sum(table.remove(lease) for lease in leases if lease.stream != created)


def _seed(settings: Settings, kinesis: Any, dynamodb: Any, *, whole: bool) -> int:
    """Writes the first leases into an empty table; gives their number.

    Args:
        whole: Whether also those of a large or resharded stream. At a first start they are left to KCL, which makes
            them at once if it finds none; when leases vanish later, it takes minutes to notice.
    """
    table, shards = settings.lease_table, _shards(settings.kinesis_stream_name, kinesis, whole=whole)
    if not _is_ours_to_fill(dynamodb, table):
        return 0
    if not whole and (len(shards) > MAX_SHARDS or any("ParentShardId" in shard for shard in shards)):
        return 0
    ids = {shard["ShardId"] for shard in shards}
    first = [shard for shard in shards if shard.get("ParentShardId") not in ids]
    created = creation(kinesis, settings.kinesis_stream_name)
    for shard in first:
        _put(dynamodb, table, shard, settings.initial_position, created)
    return len(first)


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


def _is_ours_to_fill(dynamodb: Any, table: str) -> bool:
    """Whether the table is empty. Where nothing has made it, as the stack does, it is made as KCL makes it.

    Raises:
        ServiceError: If it is another kind of table. KCL would try again for ever.
    """
    try:
        described = dynamodb.describe_table(TableName=table)["Table"]
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
    else:
        if [key["AttributeName"] for key in described["KeySchema"]] != ["leaseKey"]:
            raise ServiceError(f"table {table}: its key is not leaseKey; KCL did not make it")
        return not dynamodb.scan(TableName=table, Limit=1)["Items"]
    return make_table(dynamodb, table)


def make_table(dynamodb: Any, table: str) -> bool:
    """Makes a lease table as KCL makes it; gives whether nobody else did so at the same time."""
    try:
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("leaseKey", "leaseOwner")],
            # KCL would add it at its start, which takes minutes on AWS.
            GlobalSecondaryIndexes=[
                {
                    "IndexName": OWNER_INDEX,
                    "KeySchema": [
                        {"AttributeName": "leaseOwner", "KeyType": "HASH"},
                        {"AttributeName": "leaseKey", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":
            raise
        return False  # another worker makes it
    dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return True


def _put(dynamodb: Any, table: str, shard: dict[str, Any], position: str, created: str) -> None:
    """Writes a lease as KCL's `DynamoDBLeaseSerializer` does, marked with its stream, unless one is there."""
    hashes = shard["HashKeyRange"]
    try:
        dynamodb.put_item(
            TableName=table,
            Item={
                "leaseKey": {"S": shard["ShardId"]},
                "leaseCounter": {"N": "0"},
                "ownerSwitchesSinceCheckpoint": {"N": "0"},
                "checkpoint": {"S": position},
                "checkpointSubSequenceNumber": {"N": "0"},
                "startingHashKey": {"S": hashes["StartingHashKey"]},
                "endingHashKey": {"S": hashes["EndingHashKey"]},
                LEASE_STREAM: {"S": created},
            },
            ConditionExpression="attribute_not_exists(leaseKey)",
        )
    except ClientError as error:
        if code_of(error) != "ConditionalCheckFailedException":
            raise

"""Shortens the waits that KCL makes at a worker's start and end.

**At the start.** On an empty lease table KCL waits 1 to 30 s at random, lest many new workers list the
shards at once (`Scheduler.shouldInitiateLeaseSync` in KCL 3). Leases that are there already end the
wait, so those that KCL would write are written first: conditionally, and only for a stream without
parents and children. And no worker gets a lease before its first report of metrics, so an empty report
is made for it.

**At the end.** A worker that leaves keeps its leases until they expire, and for as long as its last
report is fresh they may even be assigned to it again. After the last checkpoint they are given up, as
KCL's own `evictLease` does, and the report and the leader's lock are removed, so that another worker
has them at once.

Nothing here must work: where it fails, KCL does it all itself, slower.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from kcl_worker import aws, leader
from kcl_worker.aws import error_code
from kcl_worker.errors import ServiceError
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

# More shards than this start too rarely to be worth the writes before the daemon runs.
MAX_SHARDS: Final = 50


def prepare(settings: Settings) -> None:
    """Reports this worker, and makes the lease table and its leases if the application has none.

    Raises:
        ServiceError: If the stream is missing or closed to us. KCL would try again for ever.
    """
    dynamodb = aws.client("dynamodb", settings.aws_region)
    kinesis = aws.client("kinesis", settings.aws_region)
    _attempt("this worker is not reported early", lambda: _report(settings, dynamodb))
    seeded = _attempt("leases are not seeded", lambda: _seed(settings, kinesis, dynamodb))
    if seeded:
        logger.info("leases seeded", extra={"shards": seeded})


def release(settings: Settings) -> int:
    """Gives up this worker's leases; gives their number. Its daemon must have ended."""
    dynamodb = aws.client("dynamodb", settings.aws_region)
    released = _attempt("leases are not released", lambda: _release(settings, dynamodb))
    logger.info("leases released", extra={"shards": released or 0})
    return released or 0


def _attempt(failure: str, work: Callable[[], int]) -> int | None:
    try:
        return work()
    except (ClientError, BotoCoreError) as error:
        logger.warning("%s: %s", failure, error_code(error))
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
        if error_code(error) != "ResourceNotFoundException":  # KCL makes the table at the first start
            raise
        return 0
    return 1


def _release(settings: Settings, dynamodb: Any) -> int:
    leader.free(dynamodb, settings.coordinator_table, settings.worker_id)
    dynamodb.delete_item(TableName=settings.report_table, Key={"wid": {"S": settings.worker_id}})
    return leader.evict(dynamodb, settings.lease_table, settings.worker_id)


def _seed(settings: Settings, kinesis: Any, dynamodb: Any) -> int:
    table, shards = settings.lease_table, _shards(settings.kinesis_stream_name, kinesis)
    if not _is_ours_to_fill(dynamodb, table):
        return 0
    if len(shards) > MAX_SHARDS or any("ParentShardId" in shard for shard in shards):
        return 0
    for shard in shards:
        _put(dynamodb, table, shard, settings.initial_position)
    return len(shards)


def _shards(stream: str, kinesis: Any) -> list[dict[str, Any]]:
    """The first shards of the stream, one more than are seeded."""
    try:
        shards: list[dict[str, Any]] = kinesis.list_shards(StreamName=stream, MaxResults=MAX_SHARDS + 1)["Shards"]
    except ClientError as error:
        if error_code(error) in aws.PERMANENT:
            raise ServiceError(f"stream {stream}: {error_code(error)}: {error}") from None
        raise
    return shards


def _is_ours_to_fill(dynamodb: Any, table: str) -> bool:
    """Whether the table is empty. Where nothing has made it, as the stack does, it is made as KCL makes it.

    Raises:
        ServiceError: If it is another kind of table. KCL would try again for ever.
    """
    try:
        described = dynamodb.describe_table(TableName=table)["Table"]
    except ClientError as error:
        if error_code(error) != "ResourceNotFoundException":
            raise
    else:
        if [key["AttributeName"] for key in described["KeySchema"]] != ["leaseKey"]:
            raise ServiceError(f"table {table}: its key is not leaseKey; KCL did not make it")
        return not dynamodb.scan(TableName=table, Limit=1)["Items"]
    try:
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    except ClientError as error:
        if error_code(error) != "ResourceInUseException":
            raise
        return False  # another worker is at it
    dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return True


def _put(dynamodb: Any, table: str, shard: dict[str, Any], position: str) -> None:
    """Writes a lease as KCL's `DynamoDBLeaseSerializer` does, unless one is there."""
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
            },
            ConditionExpression="attribute_not_exists(leaseKey)",
        )
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise

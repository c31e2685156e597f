"""Seeds the lease table of a new application, so that its first start does not idle.

On an empty table KCL waits 1–30 s at random, lest many new workers list the shards at once
(`Scheduler.shouldInitiateLeaseSync` in KCL 3). Leases that are there already end the wait. Only what
KCL itself would write on an empty table is written, conditionally, and only for a stream without
parents and children; everything else is left to KCL.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from kcl_worker.aws import error_code
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

# More shards than this start too rarely to be worth the writes before the daemon runs.
MAX_SHARDS: Final = 50


def seed(settings: Settings, kinesis: Any, dynamodb: Any) -> int:
    """Creates the lease table and its leases if the application has none; gives their number.

    Never fails: where it cannot help, KCL does it all itself, slower.
    """
    try:
        return _seed(settings, kinesis, dynamodb)
    except (ClientError, BotoCoreError) as error:
        logger.warning("leases not seeded, KCL will make them: %s", error_code(error))
        return 0


def _seed(settings: Settings, kinesis: Any, dynamodb: Any) -> int:
    table = settings.kcl_application_name
    if not _create(dynamodb, table) and dynamodb.scan(TableName=table, Limit=1)["Items"]:
        return 0
    listed = kinesis.list_shards(StreamName=settings.kinesis_stream_name, MaxResults=MAX_SHARDS + 1)
    shards = listed["Shards"]
    if len(shards) > MAX_SHARDS or any("ParentShardId" in shard for shard in shards):
        return 0
    for shard in shards:
        _put(dynamodb, table, shard, settings.initial_position)
    return len(shards)


def _create(dynamodb: Any, table: str) -> bool:
    """Makes the table as KCL makes it; False if there is one."""
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
        return False
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

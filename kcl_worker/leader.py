"""Frees the leader's lock of a worker that died.

One worker of an application assigns the leases of all. It holds a lock in the table of coordinator
state, whose duration, two minutes, is a constant of KCL 3 (`DynamoDBLockBasedLeaderDecider`): when a
leader is killed, nobody gets leases for so long, a lone worker's own successor included.

Every worker also reports its metrics every two seconds. So here is a shorter test of death: the
leader's report has not changed for the failover time, by our own clock. Then the lock is deleted, on
condition that it is still the very one that was seen; the next leader is elected at once. A leader that
was only slow finds its lock gone and stands for election again; two leaders for a moment do no harm,
because every assignment is itself conditional.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from kcl_worker.aws import error_code
from kcl_worker.settings import Settings

logger = logging.getLogger(__name__)

LOCK_KEY: Final = {"key": {"S": "Leader"}}
CHECKS_PER_FAILOVER: Final = 4


class LeaderWatch:
    """Watches the leader of this application.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, settings: Settings, dynamodb: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._locks, self._reports = settings.coordinator_table, settings.report_table
        self._leases = settings.lease_table
        self._me, self._patience = settings.worker_id, settings.kcl_failover_seconds
        self._dynamodb, self._clock = dynamodb, clock
        self._seen: tuple[str, str | None] | None = None
        self._since = 0.0

    async def run(self) -> None:
        """Checks until cancelled; what fails is tried again at the next check."""
        while True:
            await asyncio.sleep(self._patience / CHECKS_PER_FAILOVER)
            try:
                await asyncio.to_thread(self.check)
            except (ClientError, BotoCoreError) as error:
                logger.debug("the leader was not checked: %s", error_code(error))

    def check(self) -> bool:
        """Looks once; gives whether the lock of a dead leader was freed, and its leases with it."""
        lock = self._item(self._locks, LOCK_KEY)
        owner = lock.get("ownerName", {}).get("S")
        if owner is None or owner == self._me:
            self._seen = None
            return False
        sign = owner, self._item(self._reports, {"wid": {"S": owner}}).get("lut", {}).get("N")
        if sign != self._seen:
            self._seen, self._since = sign, self._clock()
            return False
        if self._clock() - self._since < self._patience:
            return False
        freed = free(self._dynamodb, self._locks, owner)
        if freed:
            # The next leader would first watch them for another failover time.
            number = evict(self._dynamodb, self._leases, owner)
            logger.warning("the leader gave no sign of life", extra={"leader": owner, "leases_freed": number})
        self._seen = None
        return freed

    def _item(self, table: str, key: dict[str, Any]) -> dict[str, Any]:
        item: dict[str, Any] = self._dynamodb.get_item(TableName=table, Key=key).get("Item", {})
        return item


def free(dynamodb: Any, table: str, owner: str) -> bool:
    """Deletes the leader's lock if it is still this owner's."""
    try:
        dynamodb.delete_item(
            TableName=table,
            Key=LOCK_KEY,
            ConditionExpression="ownerName = :owner",
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def evict(dynamodb: Any, table: str, owner: str) -> int:
    """Takes all leases from their owner, as KCL's own `evictLease` does; gives their number.

    An owner that lives after all finds out when it renews one, and stops; what it had in flight comes again.
    """
    mine = {":owner": {"S": owner}}
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, FilterExpression="leaseOwner = :owner", ExpressionAttributeValues=mine
    )
    keys = [item["leaseKey"] for page in pages for item in page["Items"]]
    for key in keys:
        try:
            dynamodb.update_item(
                TableName=table,
                Key={"leaseKey": key},
                UpdateExpression="SET leaseCounter = leaseCounter + :one REMOVE leaseOwner",
                ConditionExpression="leaseOwner = :owner",
                ExpressionAttributeValues=mine | {":one": {"N": "1"}},
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":  # another has it by now
                raise
    return len(keys)

"""The leader's lock: whose it is, and how it is freed.

One worker of an application assigns the leases of all. It holds a lock in the table of coordinator
state, whose duration, two minutes, is a constant of KCL 3 (`DynamoDBLockBasedLeaderDecider`): when a
leader is killed, nobody gets leases from KCL for so long, a lone worker's own successor included.
And nobody asks for the lock but once in 30 s, another constant, so that leaves a gap too when a leader
leaves in good order.

So the lock of a leader that must be dead is deleted (`LeaseWatch` knows who is), on condition that it is
still its own, and until another is elected the workers assign free leases themselves. A leader that was only
slow finds its lock gone and stands for election again; two leaders for a moment do no harm, because every
assignment is itself conditional.
"""

from __future__ import annotations

from typing import Any, Final

LOCK_KEY: Final = {"key": {"S": "Leader"}}


def owner(dynamodb: Any, table: str) -> str | None:
    """The worker that leads, if one does."""
    lock = dynamodb.get_item(TableName=table, Key=LOCK_KEY).get("Item", {})
    name: str | None = lock.get("ownerName", {}).get("S")
    return name


def free(dynamodb: Any, table: str, owner: str) -> bool:
    """Deletes the lock if it is still this owner's."""
    try:
        dynamodb.delete_item(
            TableName=table,
            Key=LOCK_KEY,
            ConditionExpression="ownerName = :owner",
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True

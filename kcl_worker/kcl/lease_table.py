"""KCL's table of leases: what its items say, and the changes that we make to them.

A lease is in one of these states (`Lease`, `DynamoDBLeaseSerializer` and `DynamoDBLeaseRefresher` of KCL 3.1 to 3.5):

| `leaseOwner` | `checkpointOwner` | |
| --- | --- | --- |
| none | none | free: the leader's `LeaseAssignmentManager` gives it to a worker in its next round |
| A | none | held: A adds 1 to `leaseCounter` three times in the failover time (`DynamoDBLeaseRenewer`) |
| B | A | handed over: A still renews and alone may checkpoint, until its record processor has ended; then it |
|   |   | takes its name out (`ShutdownNotificationTask`), and B finds the lease (`DynamoDBLeaseDiscoverer`) |
| none | A | nobody's. KCL never makes it; whoever removes B alone from a hand-over does |

The last one is a trap. A cannot end the hand-over (`assignLease` expects B as owner) and drops the lease; the leader of
KCL 3.1.3 takes A for its owner (`Lease.actualOwner`), and gives it to nobody when A is the worker that it would choose
(`VarianceBasedLeaseAssignmentDecider.assignLease`): with A as the only worker, never. KCL 3.5 does give it away, after
the failover time. A hand-over that A dropped because DynamoDB failed is such a trap too.

So every change here leaves one of the first two states, is made on condition that the owners are those that were seen,
and, where it takes the lease from its holder, adds to the counter, by which the holder finds out at its next renewal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cloud.streams import LEASE_STREAM

FINISHED: Final = "SHARD_END"


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it was seen.

    Attributes:
        owner: Who holds it, or who shall have it when the hand-over is done.
        checkpoint_owner: Who holds it while it is handed over.
        finished: Whether its shard is closed and was read to its end.
        stream: When the stream was made that it is of; None if it does not say so (yet).
    """

    key: str
    owner: str | None
    checkpoint_owner: str | None
    counter: int
    finished: bool = False
    stream: str | None = None

    @classmethod
    def of(cls, item: dict[str, Any]) -> Lease:
        """From an item of the table."""
        return cls(
            item["leaseKey"]["S"],
            item.get("leaseOwner", {}).get("S"),
            item.get("checkpointOwner", {}).get("S"),
            int(item.get("leaseCounter", {}).get("N", 0)),
            item.get("checkpoint", {}).get("S") == FINISHED,
            item.get(LEASE_STREAM, {}).get("S"),
        )

    @property
    def holder(self) -> str | None:
        """Who renews it, if anybody does: KCL's `actualOwner`, save that a hand-over to nobody has none."""
        return self.checkpoint_owner if self.owner and self.checkpoint_owner else self.owner

    @property
    def orphaned(self) -> bool:
        """Whether it is in the state that KCL does not know."""
        return self.owner is None and self.checkpoint_owner is not None


class LeaseTable:
    """The table, through a client of DynamoDB."""

    def __init__(self, dynamodb: Any, name: str) -> None:
        self._dynamodb, self._name = dynamodb, name

    def leases(self, *, consistent: bool = False) -> list[Lease]:
        """All of them; a read that is not consistent may be a second old."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=consistent)
        # Other items of KCL 3.5 may lie beside them, which have no counter.
        return [
            Lease.of(item) for page in pages for item in page["Items"] if {"leaseKey", "leaseCounter"} <= item.keys()
        ]

    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not self._dynamodb.scan(TableName=self._name, Limit=1, ConsistentRead=True)["Items"]

    def add(self, shard: dict[str, Any], position: str, stream: str) -> bool:
        """Makes a shard's lease as KCL's `DynamoDBLeaseSerializer` does, marked with its stream, unless one is there.

        Args:
            shard: As Kinesis lists it.
            position: Where reading begins: `TRIM_HORIZON`, `LATEST` or `AT_TIMESTAMP`.
        """
        hashes = shard["HashKeyRange"]
        try:
            self._dynamodb.put_item(
                TableName=self._name,
                Item={
                    "leaseKey": {"S": shard["ShardId"]},
                    "leaseCounter": {"N": "0"},
                    "ownerSwitchesSinceCheckpoint": {"N": "0"},
                    "checkpoint": {"S": position},
                    "checkpointSubSequenceNumber": {"N": "0"},
                    "startingHashKey": {"S": hashes["StartingHashKey"]},
                    "endingHashKey": {"S": hashes["EndingHashKey"]},
                    LEASE_STREAM: {"S": stream},
                },
                ConditionExpression="attribute_not_exists(leaseKey)",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def free(self, lease: Lease) -> bool:
        """Takes it from everybody, so that the leader gives it to somebody in its next round."""
        return self._change(lease, "ADD leaseCounter :one REMOVE leaseOwner, checkpointOwner", {":one": {"N": "1"}})

    def assign(self, lease: Lease, owner: str) -> bool:
        """Gives it to a worker, as KCL's `assignLease` does: its discoverer takes it within a second.

        That may be its holder, which then begins anew. The counter grows by two: where a renewal is refused, the holder
        takes one more, with its own name as owner, for a renewal of its own whose answer was lost, and goes on
        (`DynamoDBLeaseRefresher.renewLease`).
        """
        values = {":two": {"N": "2"}, ":new": {"S": owner}}
        return self._change(lease, "SET leaseOwner = :new ADD leaseCounter :two REMOVE checkpointOwner", values)

    def mark(self, lease: Lease, stream: str) -> None:
        """Notes of which stream it is, unless that is known. KCL makes leases without our attribute."""
        self._update(
            lease,
            f"SET {LEASE_STREAM} = :stream",
            f"attribute_exists(leaseKey) AND attribute_not_exists({LEASE_STREAM})",
            {":stream": {"S": stream}},
        )

    def remove(self, lease: Lease) -> bool:
        """Deletes it if it is still of the stream of which it was; whoever holds it finds out at the next renewal."""
        if lease.stream is None:
            seen: dict[str, Any] = {"ConditionExpression": f"attribute_not_exists({LEASE_STREAM})"}
        else:
            values = {":stream": {"S": lease.stream}}
            seen = {"ConditionExpression": f"{LEASE_STREAM} = :stream", "ExpressionAttributeValues": values}
        try:
            self._dynamodb.delete_item(TableName=self._name, Key={"leaseKey": {"S": lease.key}}, **seen)
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def finish_hand_over(self, lease: Lease) -> bool:
        """Takes it from its old owner, as KCL's `evictLease` does: the new one takes it within a second."""
        return self._change(lease, "ADD leaseCounter :one REMOVE checkpointOwner", {":one": {"N": "1"}})

    def call_off_hand_over(self, lease: Lease) -> bool:
        """Leaves it to its old owner.

        The counter stays, so that an owner that has not begun to hand it over goes on and never notices. One that has
        begun fails to hand it over, drops it, and finds it again within a second.
        """
        return self._change(lease, "SET leaseOwner = checkpointOwner REMOVE checkpointOwner", {}, renewed=True)

    def _change(self, lease: Lease, update: str, values: dict[str, Any], *, renewed: bool = False) -> bool:
        """Changes a lease unless it has changed meanwhile; `renewed`: though its holder may have renewed it."""
        conditions, seen = ["attribute_exists(leaseKey)"], dict(values)
        for name, owner in (("leaseOwner", lease.owner), ("checkpointOwner", lease.checkpoint_owner)):
            if owner is None:
                conditions.append(f"attribute_not_exists({name})")
            else:
                conditions.append(f"{name} = :{name}")
                seen[f":{name}"] = {"S": owner}
        if not renewed:
            conditions.append("leaseCounter = :seen")
            seen[":seen"] = {"N": str(lease.counter)}
        return self._update(lease, update, " AND ".join(conditions), seen)

    def _update(self, lease: Lease, update: str, condition: str, values: dict[str, Any]) -> bool:
        arguments: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        try:
            self._dynamodb.update_item(
                TableName=self._name,
                Key={"leaseKey": {"S": lease.key}},
                UpdateExpression=update,
                ConditionExpression=condition,
                **arguments,
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

"""Makes KCL's three tables as KCL makes them, but all at once, and that of the leases with its index.

KCL makes one after the other, and adds the index afterwards, which takes minutes on AWS.
"""

from __future__ import annotations

from typing import Any, Final

from kcl_worker.errors import ServiceError

# By which KCL finds the leases that a worker was given.
OWNER_INDEX: Final = "LeaseOwnerToLeaseKeyIndex"


def make_missing(dynamodb: Any, leases: str, reports: str, coordinator: str) -> None:
    """Makes those that are not there, and waits for them; what another worker is making is left to that one.

    Raises:
        ServiceError: If another kind of table has the name of the leases'. KCL would try again for ever.
    """
    made = [
        table
        for table, key, index in (
            (leases, "leaseKey", ("leaseOwner", "leaseKey")),
            (reports, "wid", ()),
            (coordinator, "key", ()),
        )
        if not _exists(dynamodb, table, key) and _make(dynamodb, table, key, index)
    ]
    for table in made:
        dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def _exists(dynamodb: Any, table: str, key: str) -> bool:
    try:
        schema = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return False
    if [one["AttributeName"] for one in schema] != [key]:
        raise ServiceError(f"table {table}: its key is not {key}; KCL did not make it")
    return True


def _make(dynamodb: Any, table: str, key: str, index: tuple[str, ...]) -> bool:
    """Gives whether nobody else did so at the same time."""
    schema: dict[str, Any] = {"KeySchema": _schema(key)}
    if index:
        owners = {"IndexName": OWNER_INDEX, "KeySchema": _schema(*index), "Projection": {"ProjectionType": "KEYS_ONLY"}}
        schema["GlobalSecondaryIndexes"] = [owners]
    try:
        dynamodb.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in {key, *index}],
            BillingMode="PAY_PER_REQUEST",
            **schema,
        )
    except dynamodb.exceptions.ResourceInUseException:
        return False
    return True


def _schema(*keys: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=False)]

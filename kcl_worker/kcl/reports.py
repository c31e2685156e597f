"""The workers' reports: by one of them KCL's leader knows that a worker is there and may be given leases."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final, NamedTuple

# Our attribute beside KCL's, which changes its own alone (`WorkerMetricStatsDAO`).
_LEAVING: Final = "leaving"


class Report(NamedTuple):
    """A worker's last report.

    Attributes:
        time: When it was made, by KCL's clock; to be compared, not computed with.
        leaving: Whether the worker has said that it leaves.
    """

    time: str
    leaving: bool


def read(dynamodb: Any, table: str, *, consistent: bool = False) -> dict[str, Report]:
    """The reports by worker; one that left in good order has none."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table, ProjectionExpression=f"wid, lut, {_LEAVING}", ConsistentRead=consistent
    )
    return {
        item["wid"]["S"]: Report(item.get("lut", {}).get("N", ""), _LEAVING in item)
        for page in pages
        for item in page["Items"]
    }


def write(dynamodb: Any, table: str, worker: str) -> None:
    """Writes the empty report that the daemon itself would write two seconds after its start."""
    dynamodb.put_item(
        TableName=table,
        Item={"wid": {"S": worker}, "lut": {"N": str(int(time.time()))}, "opr": {"M": {}}, "sts": {"M": {}}},
    )


def say_leaving(dynamodb: Any, table: str, worker: str) -> None:
    """Says in a worker's report, if there is one, that the worker leaves. KCL knows no such word."""
    with suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.update_item(
            TableName=table,
            Key={"wid": {"S": worker}},
            UpdateExpression=f"SET {_LEAVING} = :yes",
            ConditionExpression="attribute_exists(wid)",
            ExpressionAttributeValues={":yes": {"BOOL": True}},
        )


def remove(dynamodb: Any, table: str, worker: str) -> None:
    """Removes a worker's report: it is given no lease any more."""
    dynamodb.delete_item(TableName=table, Key={"wid": {"S": worker}})

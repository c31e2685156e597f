"""The workers' reports: by one of them KCL's leader knows that a worker is there and may be given leases."""

from __future__ import annotations

import time
from typing import Any


def report(dynamodb: Any, table: str, worker: str) -> None:
    """Writes the empty report that the daemon itself would write two seconds after its start."""
    dynamodb.put_item(
        TableName=table,
        Item={"wid": {"S": worker}, "lut": {"N": str(int(time.time()))}, "opr": {"M": {}}, "sts": {"M": {}}},
    )


def reporting(dynamodb: Any, table: str) -> set[str]:
    """Workers that have a report: one that left in good order has none."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ProjectionExpression="wid", ConsistentRead=True)
    return {item["wid"]["S"] for page in pages for item in page["Items"]}


def remove(dynamodb: Any, table: str, worker: str) -> None:
    """Removes a worker's report: it is given no lease any more."""
    dynamodb.delete_item(TableName=table, Key={"wid": {"S": worker}})

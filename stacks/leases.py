"""The tables in which KCL keeps leases, workers' reports and the leader's lock.

The stack makes them as KCL would: the first start is some seconds faster, the tables carry the tags and
are encrypted, and the task's role needs no permission to create tables. Names and keys are those of KCL 3
(`DynamoDBLeaseSerializer`, `WorkerMetricStats`, `CoordinatorState`).
"""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.dynamodb_table import (
    DynamodbTable,
    DynamodbTableAttribute,
    DynamodbTableGlobalSecondaryIndex,
    DynamodbTablePointInTimeRecovery,
    DynamodbTableServerSideEncryption,
)

from stacks.config import Config
from stacks.names import Names

INDEX = "LeaseOwnerToLeaseKeyIndex"


class LeaseTables:
    """Three small tables, billed by request.

    Args:
        key: The ARN of the KMS key that encrypts them; None for the account's `aws/dynamodb`.

    Attributes:
        application: The KCL application, which names the tables.
    """

    def __init__(self, stack: TerraformStack, config: Config, key: str | None) -> None:
        names = Names(config)
        leases, reports, coordinator = names.tables
        self.application = names.stream
        # Checkpoints cannot be rebuilt from anything else, so only this table has point-in-time recovery.
        self._key = key
        self.leases = self._table(stack, "leases", leases, "leaseKey", restorable=True)
        self.reports = self._table(stack, "worker-metric-stats", reports, "wid")
        self.coordinator = self._table(stack, "coordinator-state", coordinator, "key")

    def _table(
        self, stack: TerraformStack, id_: str, name: str, key: str, *, restorable: bool = False
    ) -> DynamodbTable:
        attributes, indexes = [DynamodbTableAttribute(name=key, type="S")], []
        if restorable:
            attributes.append(DynamodbTableAttribute(name="leaseOwner", type="S"))
            indexes.append(
                DynamodbTableGlobalSecondaryIndex(
                    name=INDEX, hash_key="leaseOwner", range_key=key, projection_type="KEYS_ONLY"
                )
            )
        return DynamodbTable(
            stack,
            id_,
            name=name,
            billing_mode="PAY_PER_REQUEST",
            hash_key=key,
            attribute=attributes,
            global_secondary_index=indexes,
            point_in_time_recovery=DynamodbTablePointInTimeRecovery(enabled=restorable),
            server_side_encryption=DynamodbTableServerSideEncryption(enabled=True, kms_key_arn=self._key),
        )

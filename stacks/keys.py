"""Customer-managed keys: whose, in place of the services' own, encrypts what holds data.

One key for stream, frames, queues, tables, logs and registry, and one in the replica's region. The alarms' topic has a
key of its own in any case (`stacks/topic.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cdktf import Fn, TerraformProvider, TerraformStack
from cdktf_cdktf_provider_aws.kms_alias import KmsAlias
from cdktf_cdktf_provider_aws.kms_key import KmsKey

from stacks.config import Config
from stacks.names import PIPELINE_TAG, Names
from stacks.policies import Statement, allow

# The longest that AWS keeps a key which is to be deleted, in days; what it encrypted is lost with it.
DELETION_DAYS: Final = 30
# What a service does with a key on behalf of whoever uses its resources; DynamoDB asks for most of it:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
USE: Final = ("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo")
# Services that the worker gives data to, or takes it from.
WORKERS_SERVICES: Final = ("dynamodb", "kinesis", "s3", "sqs")


class Keys:
    """The environment's keys.

    Attributes:
        arn: Of the key, None where the services use their own.
        made: Keys of the stack's own, which go with the stack alone.
    """

    def __init__(self, stack: TerraformStack, config: Config, account: str) -> None:
        self._stack, self._config, self._account = stack, config, account
        self.made: list[KmsKey] = []
        self.arn: str | None = config.encryption.key or None
        if config.encryption.own:
            names = Names(config)
            groups = [names.arn(account, "logs", f"log-group:{name}") for name in (names.log, names.failures_log)]
            self.arn = self._make("data", config.region, [_logs(config.region, groups)])

    def of_replica(self, provider: TerraformProvider) -> str | None:
        """The key of the replica's region.

        Args:
            provider: The region's.
        """
        if self._config.encryption.own:
            return self._make("replica-data", self._config.storage.replica_region, [], provider)
        return self._config.encryption.replica_key or None

    def use(self, sid: str, services: Sequence[str] = WORKERS_SERVICES) -> list[Statement]:
        """Allows the key's use through services, if there is one."""
        return [use(sid, self.arn, self._config.region, services)] if self.arn else []

    def _make(
        self, id_: str, region: str, statements: list[dict[str, Any]], provider: TerraformProvider | None = None
    ) -> str:
        """A key whose users get their rights from IAM."""
        description = f"{Names(self._config).own()}: data in {region}"
        key = make(
            self._stack, id_, description, self._account, statements, deletion_days=DELETION_DAYS, provider=provider
        )
        KmsAlias(
            self._stack, f"{id_}-key-alias", provider=provider, name=Names(self._config).key, target_key_id=key.key_id
        )
        self.made.append(key)
        return str(key.arn)


def make(
    stack: TerraformStack,
    id_: str,
    description: str,
    account: str,
    statements: list[dict[str, Any]],
    *,
    deletion_days: int,
    provider: TerraformProvider | None = None,
) -> KmsKey:
    """A key that turns every year, which the account's IAM may give away, and whoever the statements name may use."""
    administer = {
        "Sid": "Administer",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",  # in a key's policy, this key
    }
    return KmsKey(
        stack,
        f"{id_}-key",
        provider=provider,
        description=description,
        enable_key_rotation=True,
        deletion_window_in_days=deletion_days,
        policy=Fn.jsonencode({"Version": "2012-10-17", "Statement": [administer, *statements]}),
    )


def use(
    sid: str, arn: str, region: str, services: Sequence[str], actions: Sequence[str] = USE, **conditions: str
) -> Statement:
    """Allows the use of keys through services of a region, and in no other way."""
    through = [f"{service}.{region}.amazonaws.com" for service in services]
    return allow(sid, [f"kms:{action}" for action in actions], [arn], kms__ViaService=through, **conditions)


def reachable(config: Config, account: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Patterns of the environment's keys by region, and what tells them from other keys, for roles made before them."""
    encryption, tag = config.encryption, {f"aws__ResourceTag/{PIPELINE_TAG}": Names(config).own()}
    if not encryption.key:
        return {}
    regions = {config.region: encryption.key}
    if config.storage.replica_region:
        regions[config.storage.replica_region] = encryption.replica_key
    return {
        region: (f"arn:aws:kms:{region}:{account}:key/*", tag) if encryption.own else (arn, {})
        for region, arn in regions.items()
    }


def _logs(region: str, groups: list[str]) -> dict[str, Any]:
    """Lets CloudWatch Logs use the key for these groups.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    """
    return {
        "Sid": "Logs",
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{region}.amazonaws.com"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
        "Resource": "*",
        "Condition": {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": groups}},
    }

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
# What terraform does with a key that it has made.
CHANGE: Final = (
    "EnableKeyRotation", "PutKeyPolicy", "ScheduleKeyDeletion", "TagResource", "UntagResource", "UpdateKeyDescription",
)  # fmt: skip
# Services that the worker gives data to, or takes it from.
WORKERS_SERVICES: Final = ("dynamodb", "kinesis", "s3", "sqs")
# Of whoever deploys: DynamoDB and ECR use a key by grants, which they make on behalf of whoever makes their resources.
DEPLOYERS_SERVICES: Final = (*WORKERS_SERVICES, "ecr")
DEPLOYERS_USE: Final = (*USE, "CreateGrant", "RetireGrant")


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
        if role := deploy_role(self._config, self._account):
            through = {"kms:ViaService": _through(region, DEPLOYERS_SERVICES)}
            use = _grant("Use", role, DEPLOYERS_USE) | {"Condition": {"StringEquals": through}}
            statements = [*statements, use]
        key = make(
            self._stack, self._config, id_, description, self._account, statements,
            deletion_days=DELETION_DAYS, provider=provider,
        )  # fmt: skip
        KmsAlias(
            self._stack, f"{id_}-key-alias", provider=provider, name=Names(self._config).key, target_key_id=key.key_id
        )
        self.made.append(key)
        return str(key.arn)


def make(
    stack: TerraformStack,
    config: Config,
    id_: str,
    description: str,
    account: str,
    statements: list[dict[str, Any]],
    *,
    deletion_days: int,
    provider: TerraformProvider | None = None,
) -> KmsKey:
    """A key that turns every year, which the account's IAM may give away, and whoever the statements name may use.

    GitHub's role, which makes it, may change it from the first second on. The role's policies allow that by the key's
    tag, which may count five minutes later: https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html
    Whoever makes a key with a policy has to be allowed to change the policy afterwards:
    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
    """
    administer = {
        "Sid": "Administer",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",  # in a key's policy, this key
    }
    changes = [_grant("Change", role, CHANGE)] if (role := deploy_role(config, account)) else []
    return KmsKey(
        stack,
        f"{id_}-key",
        provider=provider,
        description=description,
        enable_key_rotation=True,
        deletion_window_in_days=deletion_days,
        policy=Fn.jsonencode({"Version": "2012-10-17", "Statement": [administer, *changes, *statements]}),
    )


def use(
    sid: str, arn: str, region: str, services: Sequence[str], actions: Sequence[str] = USE, **conditions: str
) -> Statement:
    """Allows the use of keys through services of a region, and in no other way."""
    through = _through(region, services)
    return allow(sid, [f"kms:{action}" for action in actions], [arn], kms__ViaService=through, **conditions)


def deploy_role(config: Config, account: str) -> str | None:
    """The ARN of the role that GitHub's workflows deploy with, if there is one; `stacks/github.py` makes it."""
    return f"arn:aws:iam::{account}:role/{Names(config).own('deploy')}" if config.github.repository else None


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


def _through(region: str, services: Sequence[str]) -> list[str]:
    return [f"{service}.{region}.amazonaws.com" for service in services]


def _grant(sid: str, principal: str, actions: Sequence[str]) -> dict[str, Any]:
    """A statement of a key's policy."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": [f"kms:{action}" for action in actions],
        "Resource": "*",
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

"""The topic that alarms and budget tell, its key, and who may publish."""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.data_aws_iam_policy_document import (
    DataAwsIamPolicyDocumentStatementCondition,
    DataAwsIamPolicyDocumentStatementPrincipals,
)
from cdktf_cdktf_provider_aws.kms_key import KmsKey
from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription

from stacks import keys
from stacks.config import Config
from stacks.names import Names
from stacks.policies import Statement, condition, document


def publishers(config: Config, account: str) -> dict[str, str]:
    """Services that publish, and the ARNs of those of their resources that do.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
    """
    return {
        "cloudwatch.amazonaws.com": Names(config).arn(account, "cloudwatch", "alarm:*"),
        "budgets.amazonaws.com": f"arn:aws:budgets::{account}:*",
    }


class AlarmTopic:
    """An encrypted topic that this account's alarms and budgets alone may tell."""

    def __init__(self, stack: TerraformStack, config: Config, account: str) -> None:
        self._stack, self._config, self._account = stack, config, account
        topic = SnsTopic(stack, "alarms", name=Names(config).own("alarms"), kms_master_key_id=self._key().arn)
        self.arn = topic.arn
        statements = [
            Statement(
                sid=service.partition(".")[0].title(),
                actions=["sns:Publish"],
                resources=[topic.arn],
                principals=[DataAwsIamPolicyDocumentStatementPrincipals(type="Service", identifiers=[service])],
                condition=self._only_ours(arn),
            )
            for service, arn in publishers(config, account).items()
        ]
        policy = document(stack, "alarms-permissions", statements)
        self.policy = SnsTopicPolicy(stack, "alarms-policy", arn=topic.arn, policy=policy.json)
        if config.alarms.email:
            SnsTopicSubscription(
                stack, "alarms-email", topic_arn=topic.arn, protocol="email", endpoint=config.alarms.email
            )

    def _only_ours(self, arn: str) -> list[DataAwsIamPolicyDocumentStatementCondition]:
        return [
            condition("StringEquals", "aws:SourceAccount", self._account),
            condition("ArnLike", "aws:SourceArn", arn),
        ]

    def _key(self) -> KmsKey:
        """The topic's key: services cannot use the key that SNS makes by default.

        https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        """
        publish = {
            "Sid": "Publish",
            "Effect": "Allow",
            "Principal": {"Service": list(publishers(self._config, self._account))},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": self._account}},
        }
        description = Names(self._config).own("alarms")
        return keys.make(self._stack, "alarms", description, self._account, [publish], deletion_days=7)

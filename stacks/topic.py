"""The topic that alarms and budget tell, the key of all topics, and who may publish."""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.kms_key import KmsKey
from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription

from stacks import keys
from stacks.config import Config
from stacks.names import Names
from stacks.policies import allow_service, document


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
    """An encrypted topic that this account's alarms and budgets alone may tell.

    Attributes:
        key: The ARN of its key, which is that of the topics of events, too.
    """

    def __init__(self, stack: TerraformStack, config: Config, account: str) -> None:
        self._stack, self._config, self._account = stack, config, account
        self.key = str(self._key().arn)
        topic = SnsTopic(stack, "alarms", name=Names(config).own("alarms"), kms_master_key_id=self.key)
        self.arn = topic.arn
        statements = [
            allow_service(service.partition(".")[0].title(), service, ["sns:Publish"], [topic.arn], account, arn)
            for service, arn in publishers(config, account).items()
        ]
        policy = document(stack, "alarms-permissions", statements)
        self.policy = SnsTopicPolicy(stack, "alarms-policy", arn=topic.arn, policy=policy.json)
        if config.alarms.email:
            SnsTopicSubscription(
                stack, "alarms-email", topic_arn=topic.arn, protocol="email", endpoint=config.alarms.email
            )

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
        statements = [publish]
        if any(route.email for route in self._config.events.rules.values()):
            # EventBridge names neither account nor rule to KMS; the topics' policies name the rule.
            # https://repost.aws/knowledge-center/sns-not-getting-eventbridge-notification
            service = {"Sid": "Events", "Principal": {"Service": "events.amazonaws.com"}}
            rest = {name: value for name, value in publish.items() if name not in ("Sid", "Principal", "Condition")}
            statements.append(service | rest)
        description = Names(self._config).own("alarms")
        return keys.make(self._stack, self._config, "alarms", description, self._account, statements, deletion_days=7)

"""Failed tasks: a log keeps each with its reason, and several in a short time raise an alarm.

ECS reports every task that stops. A container that ends by itself, with any status, is a failure; a task that
scaling or a deployment stops has another `stopCode`.
"""

from __future__ import annotations

from cdktf import Fn, TerraformStack
from cdktf_cdktf_provider_aws.cloudwatch_event_rule import CloudwatchEventRule
from cdktf_cdktf_provider_aws.cloudwatch_event_target import CloudwatchEventTarget
from cdktf_cdktf_provider_aws.cloudwatch_log_group import CloudwatchLogGroup
from cdktf_cdktf_provider_aws.cloudwatch_log_resource_policy import CloudwatchLogResourcePolicy
from cdktf_cdktf_provider_aws.data_aws_iam_policy_document import (
    DataAwsIamPolicyDocument,
    DataAwsIamPolicyDocumentStatement,
    DataAwsIamPolicyDocumentStatementPrincipals,
)

from stacks.config import Config
from stacks.metrics import Metric
from stacks.names import Names
from stacks.service import Service

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
STOP_CODES = ["EssentialContainerExited", "TaskFailedToStart"]


class TaskFailures:
    """The log of failed tasks.

    Attributes:
        metric: The number of failed tasks.
        log_group: The log that holds ECS's report of each.
    """

    def __init__(self, stack: TerraformStack, config: Config, service: Service, key: str | None) -> None:
        pattern = {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": {
                "clusterArn": [service.cluster.arn],
                "group": [f"service:{service.service.name}"],
                "lastStatus": ["STOPPED"],
                "stopCode": STOP_CODES,
            },
        }
        rule = CloudwatchEventRule(
            stack,
            "failures",
            name=Names(config).own("task-failures"),
            description="tasks of the worker that failed",
            event_pattern=Fn.jsonencode(pattern),
        )
        logs = CloudwatchLogGroup(
            stack,
            "failures-log",
            name=Names(config).failures_log,
            retention_in_days=config.service.log_retention_days,
            kms_key_id=key,
        )
        policy = DataAwsIamPolicyDocument(
            stack,
            "failures-log-permissions",
            statement=[
                DataAwsIamPolicyDocumentStatement(
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[f"{logs.arn}:*"],
                    principals=[
                        DataAwsIamPolicyDocumentStatementPrincipals(
                            type="Service", identifiers=["events.amazonaws.com", "delivery.logs.amazonaws.com"]
                        )
                    ],
                )
            ],
        )
        CloudwatchLogResourcePolicy(
            stack,
            "failures-log-policy",
            policy_name=Names(config).own("task-failures"),
            policy_document=policy.json,
        )
        CloudwatchEventTarget(stack, "failures-target", rule=rule.name, arn=logs.arn)
        self.metric = Metric("AWS/Events", "TriggeredRules", {"RuleName": rule.name})
        self.log_group = logs.name

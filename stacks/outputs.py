"""What the outputs of a deployment mean; `make outputs` prints them, and CLIs read them with --from-outputs."""

from __future__ import annotations

from typing import Final

# Ends the names of outputs that are IAM policies.
POLICY: Final = "Policy"

DESCRIPTIONS: Final = {
    "LoadBalancerURL": "answers 200 while the workers are healthy",
    "S3BucketName": "bucket of annotated frames, below frames/, and of records in quarantine",
    "SQSQueueURL": "queue of results: one message for each frame",
    "EventsQueueURL": "queue of events: one message when each starts, one when it ends",
    "EventBusName": "bus of EventBridge that events go to, too",
    "QuarantineQueueURL": "queue of notices of records that could not be processed",
    "KinesisStreamName": "stream that cameras send to",
    "RepositoryURL": "registry of the worker's image",
    "ClusterName": "ECS cluster of the service",
    "ServiceName": "ECS service of the workers",
    "AlarmTopicArn": "SNS topic that all alarms tell",
    "LogGroupName": "log of the workers",
    "FailuresLogGroupName": "log of ECS's reasons why tasks failed",
    "SourcesPath": "path in Parameter Store of the settings of single sources",
    "SourceDefaults": "settings of all sources, which say what is hidden where a source's own do not",
    "Region": "region of all of it",
    "ProducerPolicy": "IAM policy for who sends frames",
    "ConsumerPolicy": "IAM policy for who takes results and events and reads frames",
    "ClipPolicy": "IAM policy for who makes films of frames that are on the stream alone, as the camera sent them",
    "ConfigurePolicy": "IAM policy for who changes the settings of sources",
    "QuarantinePolicy": "IAM policy for who looks into quarantine and puts records back",
    "StateBucketName": "bucket of the Terraform state of all environments",
    "PlanRoleArn": "role of plan.yml and drift.yml: the variable PLAN_ROLE_ARN_ENVIRONMENT of the repository",
    "DeployRoleArn": "role of deploy.yml: the variable DEPLOY_ROLE_ARN of the GitHub environment",
}


def describe(name: str) -> str:
    """An output's description."""
    return DESCRIPTIONS[name]

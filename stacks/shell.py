"""A shell in a running task (ECS Exec), for environments that want one: `[service] exec = true`.

AWS's agent writes into the container's root file system, which therefore is not read-only there, and what is typed runs
as root, whatever the container's user is. Sessions are logged beside the worker's own lines.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html#ecs-exec-considerations
"""

from __future__ import annotations

from typing import Final

from cdktf_cdktf_provider_aws.ecs_cluster import (
    EcsClusterConfiguration,
    EcsClusterConfigurationExecuteCommandConfiguration,
    EcsClusterConfigurationExecuteCommandConfigurationLogConfiguration,
)

from stacks.policies import Statement, allow

CHANNELS: Final = tuple(
    f"ssmmessages:{action}"
    for action in ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
)
LOG: Final = ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")


def statements(log_group_arn: str) -> list[Statement]:
    """What the task's role needs besides.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html#ecs-exec-required-iam-permissions
    """
    return [
        # Neither a channel nor the list of log groups can be limited to resources.
        allow("Shell", [*CHANNELS, "logs:DescribeLogGroups"], ["*"]),
        allow("LogShell", LOG, [f"{log_group_arn}:*"]),
    ]


def logged(log_group: str) -> EcsClusterConfiguration:
    """Makes a cluster log what is typed in its tasks, and what is answered."""
    log = EcsClusterConfigurationExecuteCommandConfigurationLogConfiguration(cloud_watch_log_group_name=log_group)
    return EcsClusterConfiguration(
        execute_command_configuration=EcsClusterConfigurationExecuteCommandConfiguration(
            logging="OVERRIDE", log_configuration=log
        )
    )

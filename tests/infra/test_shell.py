"""ECS Exec as a choice: what it needs when it is on, and that nothing of it is there when it is off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.infra.conftest import ACCOUNT, Synth
from tests.infra.test_synth import only, statements

ON: dict[str, Any] = {"service": {"exec": True}, "network": {"egress": "endpoints"}}


def test_with_it_a_shell_can_be_had_and_is_logged(synth: Synth) -> None:
    stack = synth(ON)
    assert only(stack, "aws_ecs_service")["enable_execute_command"] is True
    # AWS: making the root file system read-only is not supported.
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html#ecs-exec-considerations
    container = only(stack, "aws_ecs_task_definition")["container_definitions"]
    assert '"readonlyRootFilesystem" = false' in container
    assert '"initProcessEnabled" = true' in container
    command = only(stack, "aws_ecs_cluster")["configuration"]["execute_command_configuration"]
    assert command["logging"] == "OVERRIDE"
    assert command["log_configuration"] == {"cloud_watch_log_group_name": "${aws_cloudwatch_log_group.logs.name}"}
    rights = statements(stack, "task-permissions")
    assert {a for a in rights["Shell"]["actions"] if a.startswith("ssmmessages:")} == {
        "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }  # fmt: skip
    assert all(":log-group:/ecs/videoPipeline:*" in resource for resource in rights["LogShell"]["resources"])
    services = {endpoint["service_name"] for endpoint in stack["resource"]["aws_vpc_endpoint"].values()}
    assert "com.amazonaws.eu-central-1.ssmmessages" in services


def test_without_it_nothing_of_it_is_there(synth: Synth) -> None:
    stack = synth({"network": ON["network"]})
    assert only(stack, "aws_ecs_service")["enable_execute_command"] is False
    assert "configuration" not in only(stack, "aws_ecs_cluster")
    assert '"readonlyRootFilesystem" = true' in only(stack, "aws_ecs_task_definition")["container_definitions"]
    assert "ssmmessages" not in json.dumps(stack)


def test_the_boundary_leaves_room_for_it_only_with_it(synth: Synth, tmp_path: Path) -> None:
    for on in (True, False):
        synth({"service": {"exec": on}, "github": {"repository": "owner/name"}}, account=ACCOUNT)
        github = (tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text()
        assert ("ssmmessages:OpenDataChannel" in github) is on

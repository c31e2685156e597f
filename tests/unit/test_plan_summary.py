"""A plan's summary: the text for reviewers and the exit status for CI."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from local.processes import ROOT
from stacks.summary import at_risk, changes_anything, markdown, planned


def change(address: str, actions: list[str], **more: Any) -> dict[str, Any]:
    values = {"before": None, "after": None, **more}
    return {"address": address, "type": address.partition(".")[0], "change": {"actions": actions, **values}}


PLAN = {
    "format_version": "1.2",
    "resource_changes": [
        change("aws_sns_topic.alarms", ["create"]),
        change("aws_iam_role.task", ["no-op"]),
        change("data.aws_caller_identity.caller", ["read"]),
        change(
            "aws_ecs_service.service",
            ["update"],
            before={"task_definition": "a:1", "name": "x", "secret": "before"},
            after={"task_definition": "a:2", "name": "x", "secret": "hidden"},
            after_unknown={"triggers": True, "name": False},
        ),
        change("aws_s3_bucket.frames", ["delete", "create"], replace_paths=[["bucket"]]),
        change("aws_ecs_task_definition.task", ["create", "delete"], replace_paths=[["cpu"], ["memory"]]),
        change("aws_nat_gateway.nat-1", ["delete"]),
    ],
}


def test_a_plan_that_changes_an_output_alone_has_to_be_applied() -> None:
    assert changes_anything(PLAN)
    quiet = [change("aws_iam_role.task", ["no-op"]), change("data.aws_caller_identity.caller", ["read"])]
    plan: dict[str, Any] = {"resource_changes": quiet, "output_changes": {"Region": {"actions": ["no-op"]}}}
    assert not changes_anything(plan)
    assert changes_anything(plan | {"output_changes": {"Region": {"actions": ["update"]}}})


def test_what_holds_data_is_called_out_first() -> None:
    changes = planned(PLAN)
    assert at_risk(changes) == ["aws_s3_bucket.frames"]
    text = markdown(changes, "prod")
    title, _, *rest = text.splitlines()
    assert title == "### Terraform plan for `prod`: 1 to create, 1 to change, 2 to replace, 1 to destroy"
    assert rest[0] == "> [!CAUTION]"
    assert "`aws_s3_bucket.frames`" in rest[2]
    assert text.index("destroy</summary>") < text.index("replace</summary>") < text.index("change</summary>")


def test_changes_name_attributes_and_no_values() -> None:
    text = markdown(planned(PLAN))
    assert "~ aws_ecs_service.service  (secret, task_definition, triggers)" in text
    assert "-/+ aws_ecs_task_definition.task  (because of cpu, memory)" in text
    assert "hidden" not in text
    assert "aws_iam_role" not in text


def test_no_changes_are_one_line() -> None:
    assert markdown({}, "dev") == "### Terraform plan for `dev`: no changes"


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (json.dumps(PLAN), 3, "Data would be lost"),
        (json.dumps({"format_version": "1.2"}), 0, "no changes"),
        ("{}", 2, "error: not the JSON of a plan"),
        ("no", 2, "error: not the JSON of a plan"),
    ],
)
def test_the_command(text: str, status: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stacks.summary", "--title", "dev"],
        input=text, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert said in done.stdout + done.stderr

"""The roles of GitHub's workflows: as synthesised, and as policies that IAM accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from local.processes import Aws
from local.resources import client
from stacks.config import Config
from tests.infra.conftest import ACCOUNT, Synth, Terraform

GITHUB = {"github": {"repository": "owner/cv2kinesis"}, "suffix": "-gh"}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, without white space
MAX_ROLE_POLICY, MAX_MANAGED_POLICY = 10_240, 6_144


@pytest.fixture
def stack(synth: Synth, tmp_path: Path) -> dict[str, Any]:
    """The JSON of the workflows' stack."""
    synth(GITHUB, account=ACCOUNT)
    made: dict[str, Any] = json.loads((tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text())
    return made


def statements(stack: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    return {s["sid"]: s for s in stack["data"]["aws_iam_policy_document"][name]["statement"]}


def test_only_this_repositorys_workflows_take_the_roles(stack: dict[str, Any]) -> None:
    for role, subject in (("plan", "pull_request"), ("deploy", "environment:test")):
        [trust] = stack["data"]["aws_iam_policy_document"][f"{role}-trust"]["statement"]
        assert {c["variable"].partition(":")[2]: (c["test"], c["values"]) for c in trust["condition"]} == {
            "aud": ("StringEquals", ["sts.amazonaws.com"]),
            "sub": ("StringEquals", [f"repo:owner/cv2kinesis:{subject}"]),
        }


def test_the_plan_reads_and_writes_nothing_but_the_lock(stack: dict[str, Any]) -> None:
    reading = ("Describe", "Get", "List")
    for sid, statement in statements(stack, "plan-permissions").items():
        changing = [a for a in statement["actions"] if not a.partition(":")[2].startswith(reading)]
        if sid == "LockState":
            assert all(resource.endswith(".tflock") for resource in statement["resources"])
        else:
            assert changing == []
        # Nothing that lies in the pipeline's resources can be read.
        data = {"kinesis:GetRecords", "dynamodb:GetItem", "sqs:ReceiveMessage", "s3:GetObject"}
        if sid != "ReadState" and sid != "LockState":
            assert not data & set(statement["actions"])
    from stacks.github import UNNAMED_READS

    wild = [s for s in statements(stack, "plan-permissions").values() if "*" in s["resources"]]
    assert [s["actions"] for s in wild] == [list(UNNAMED_READS)]


def test_the_deploy_cannot_make_itself_mightier(stack: dict[str, Any]) -> None:
    from stacks.github import PIPELINE_ROLES

    found = statements(stack, "deploy-permissions")
    roles = [f"arn:aws:iam::{ACCOUNT}:role/cv2kinesis-{role}-gh" for role in PIPELINE_ROLES]
    for statement in found.values():
        if any(action.startswith("iam:") for action in statement["actions"]):
            assert statement["resources"] == roles
    [condition] = found["ChangeRolesWithinBoundary"]["condition"]
    assert condition["variable"] == "iam:PermissionsBoundary"
    assert condition["values"] == [f"arn:aws:iam::{ACCOUNT}:policy/cv2kinesis-boundary-gh"]
    unbounded = {a for s in found.values() for a in s["actions"] if a.startswith("iam:") and "condition" not in s}
    assert not unbounded & {
        "iam:CreateRole",
        "iam:PutRolePolicy",
        "iam:AttachRolePolicy",
        "iam:DeleteRolePermissionsBoundary",
    }


def test_the_pipelines_roles_stay_within_the_boundary(synth: Synth) -> None:
    roles = synth(GITHUB, account=ACCOUNT)["resource"]["aws_iam_role"]
    assert all(role["permissions_boundary"].endswith("policy/cv2kinesis-boundary-gh") for role in roles.values())
    roles = synth()["resource"]["aws_iam_role"]
    assert all("permissions_boundary" not in role for role in roles.values())


def test_the_boundary_leaves_the_pipelines_roles_what_they_need(synth: Synth, stack: dict[str, Any]) -> None:
    pipeline = synth(GITHUB | {"service": {"retrieval_mode": "FANOUT"}}, account=ACCOUNT)
    within = [action for s in statements(stack, "boundary-permissions").values() for action in s["actions"]]
    for role in ("task", "execution"):
        needed = [action for s in statements(pipeline, f"{role}-permissions").values() for action in s["actions"]]
        assert [action for action in needed if not any(fnmatch(action, allowed) for allowed in within)] == []


def test_iam_takes_the_policies(synth: Synth, terraform: Callable[[str], Terraform], aws: Aws, tmp_path: Path) -> None:
    # With everything turned on and the longest names.
    values = GITHUB | {"suffix": "-" + "x" * 16, "storage": {"versioning": True, "replica_region": "eu-south-2"}}
    synth()  # skips without node
    from stacks.app import synthesise

    folder = tmp_path / "cdktf.out"
    synthesise(Config.of(values), "test", ACCOUNT, folder)
    path = folder / "stacks/github/cdk.tf.json"
    stack = json.loads(path.read_text())
    stack["terraform"]["backend"] = {"local": {"path": "terraform.tfstate"}}  # S3's is tested separately
    path.write_text(json.dumps(stack))
    github = terraform("github")
    github.init()
    github.apply()
    iam = client("iam", aws.url)
    for role in ("plan", "deploy"):
        document = iam.get_role_policy(RoleName=f"cv2kinesis-{role}{values['suffix']}", PolicyName="permissions")
        assert len(json.dumps(document["PolicyDocument"], separators=(",", ":"))) < MAX_ROLE_POLICY
    arn = f"arn:aws:iam::{ACCOUNT}:policy/cv2kinesis-boundary{values['suffix']}"
    boundary = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert len(json.dumps(boundary, separators=(",", ":"))) < MAX_MANAGED_POLICY
    assert github.planned() == {}
    github.run("destroy", "-auto-approve", "-no-color")

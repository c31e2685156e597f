"""The roles of GitHub's workflows: as synthesised, and as policies that IAM accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatch, fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from local.processes import Aws
from local.resources import client
from stacks.config import Config
from tests.infra.conftest import ACCOUNT, Synth, Terraform

GITHUB = {"github": {"repository": "owner/cv2kinesis"}, "suffix": "-gh"}
ROUTES = {
    "mail": {"email": "guard@example.com"},
    "hook": {"webhook": "https://example.com/events", "secret": "/cv2kinesis/hook"},
    "far": {"bus": "arn:aws:events:eu-central-1:210987654321:event-bus/theirs"},
    "near": {"queue": f"arn:aws:sqs:eu-central-1:{ACCOUNT}:theirs"},
}
REPLICA = {"versioning": True, "replica_region": "eu-south-2"}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, without white space
MAX_ROLE_POLICY, MAX_MANAGED_POLICY = 10_240, 6_144


@pytest.fixture
def stack(synth: Synth, tmp_path: Path) -> dict[str, Any]:
    """The JSON of the workflows' stack."""
    synth(GITHUB, account=ACCOUNT)
    made: dict[str, Any] = json.loads((tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text())
    return made


def statements(stack: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """The statements of a policy; those of the role that deploys are in two."""
    documents = stack["data"]["aws_iam_policy_document"]
    names = [name, "deploy-named-permissions"] if name == "deploy-permissions" else [name]
    return {s["sid"]: s for part in names for s in documents[part]["statement"]}


SUBJECTS = {
    "repo:owner/cv2kinesis:pull_request": "plan",
    "repo:owner@77/cv2kinesis@123456:pull_request": "plan",
    "repo:owner/cv2kinesis:environment:test": "deploy",
    "repo:owner@77/cv2kinesis@123456:environment:test": "deploy",
    "repo:owner/cv2kinesis:ref:refs/heads/main": "plan",
    "repo:owner@77/cv2kinesis@123456:ref:refs/heads/main": "plan",
    "repo:owner/cv2kinesis:ref:refs/heads/mine": None,
    "repo:owner/cv2kinesis:ref:refs/tags/v1.2.0": None,
    "repo:owner/cv2kinesis:environment:prod": None,
    "repo:another/cv2kinesis:environment:test": None,
    "repo:owner-2/cv2kinesis:environment:test": None,
    "repo:owner/cv2kinesis-2:pull_request": None,
    "repo:owner@77/another@5:pull_request": None,
}
WORKFLOWS = {
    "plan.yml@refs/pull/7/merge": "plan",
    "drift.yml@refs/heads/main": "plan",
    "drift.yml@refs/heads/mine": None,
    "drift.yml@refs/pull/7/merge": None,
    "deploy.yml@refs/heads/main": "deploy",
    "deploy.yml@refs/tags/v1.2.0": "deploy",
    "deploy.yml@refs/heads/mine": None,
    "deploy.yml@refs/pull/7/merge": None,
    "mine.yml@refs/heads/main": None,
}


@pytest.mark.parametrize("role", ["plan", "deploy"])
def test_only_this_repositorys_reviewed_workflows_take_the_roles(stack: dict[str, Any], role: str) -> None:
    [trust] = stack["data"]["aws_iam_policy_document"][f"{role}-trust"]["statement"]
    conditions = {c["variable"].partition(":")[2]: (c["test"], c["values"]) for c in trust["condition"]}
    assert conditions.keys() == {"aud", "sub", "job_workflow_ref"}
    assert conditions["aud"] == ("StringEquals", ["sts.amazonaws.com"])
    for claim, known in (("sub", SUBJECTS), ("job_workflow_ref", WORKFLOWS)):
        test, patterns = conditions[claim]
        assert test == "StringLike"
        for value, taker in known.items():
            text = value if claim == "sub" else f"owner/cv2kinesis/.github/workflows/{value}"
            assert (value, any(fnmatchcase(text, pattern) for pattern in patterns)) == (value, taker == role)
    workflow = f"owner/another/.github/workflows/{role}.yml@refs/heads/main"
    assert not any(fnmatchcase(workflow, pattern) for pattern in conditions["job_workflow_ref"][1])


def test_a_deploy_leaves_other_environments_alone(stack: dict[str, Any]) -> None:
    statement = statements(stack, "deploy-permissions")["LeaveOtherEnvironments"]
    from stacks.github import UNNAMED_WRITES

    assert (statement["effect"], statement["actions"]) == ("Deny", list(UNNAMED_WRITES))
    assert {(c["test"], c["variable"], *c["values"]) for c in statement["condition"]} == {
        ("StringEquals", "aws:ResourceTag/project", "cv2kinesis"),
        ("StringNotEquals", "aws:ResourceTag/environment", "test"),
    }


# The ARN of a resource, from what the synthesised resource says.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
ARNS = {
    "aws_kinesis_stream": "arn:aws:kinesis:{region}:{account}:stream/{name}",
    "aws_dynamodb_table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "aws_s3_bucket": "arn:aws:s3:::{bucket}",
    "aws_sqs_queue": "arn:aws:sqs:{region}:{account}:{name}",
    "aws_ecr_repository": "arn:aws:ecr:{region}:{account}:repository/{name}",
    "aws_cloudwatch_log_group": "arn:aws:logs:{region}:{account}:log-group:{name}",
    "aws_sns_topic": "arn:aws:sns:{region}:{account}:{name}",
    "aws_budgets_budget": "arn:aws:budgets::{account}:budget/{name}",
    "aws_cloudwatch_event_rule": "arn:aws:events:{region}:{account}:rule/{name}",
    "aws_cloudwatch_event_bus": "arn:aws:events:{region}:{account}:event-bus/{name}",
    "aws_cloudwatch_event_archive": "arn:aws:events:{region}:{account}:archive/{name}",
    "aws_cloudwatch_event_connection": "arn:aws:events:{region}:{account}:connection/{name}/0a1b",
    "aws_cloudwatch_event_api_destination": "arn:aws:events:{region}:{account}:api-destination/{name}/0a1b",
    "aws_cloudwatch_metric_alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{alarm_name}",
    "aws_cloudwatch_dashboard": "arn:aws:cloudwatch::{account}:dashboard/{dashboard_name}",
    "aws_ecs_cluster": "arn:aws:ecs:{region}:{account}:cluster/{name}",
    "aws_ecs_task_definition": "arn:aws:ecs:{region}:{account}:task-definition/{family}:1",
    "aws_iam_role": "arn:aws:iam::{account}:role/{name}",
}
# What services offer no condition on names for, or is inside what is named: `UNNAMED_WRITES` allows their changes.
UNNAMED = {
    "aws_appautoscaling_policy", "aws_appautoscaling_scheduled_action", "aws_appautoscaling_target", "aws_lb",
    "aws_lb_target_group", "aws_security_group", "aws_iam_role_policy", "aws_cloudwatch_log_resource_policy",
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["", "-gh"])
def test_every_name_is_within_reach_of_the_roles(synth: Synth, tmp_path: Path, suffix: str) -> None:
    values = GITHUB | {
        "suffix": suffix, "stream": {"shards": 4}, "storage": REPLICA, "alarms": {"budget": 100},
        "events": {"rules": ROUTES},
    }  # fmt: skip
    resources = synth(values, account=ACCOUNT)["resource"]
    github = json.loads((tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text())
    region = Config.of(values).region
    account = "${data.aws_caller_identity.caller.account_id}"
    named = 0
    for kind, made in resources.items():
        for id_, resource in made.items():
            if kind == "aws_ecs_service":
                cluster = f"VideoPipelineStack-Cluster{suffix}"
                arn = f"arn:aws:ecs:{region}:{ACCOUNT}:service/{cluster}/{resource['name']}"
            elif "event_bus_name" in resource and "event_pattern" in resource:
                arn = f"arn:aws:events:{region}:{ACCOUNT}:rule/cv2kinesis-events{suffix}/{resource['name']}"
            elif kind in ARNS:
                arn = ARNS[kind].format(region=region, account=ACCOUNT, **resource).replace(account, ACCOUNT)
            else:
                assert kind in UNNAMED or not {"name", "family", "bucket_prefix"} & resource.keys(), f"{kind}.{id_}"
                continue
            named += 1
            service = arn.split(":")[2]
            for role, prefix in (("plan", "Read"), ("deploy", "Change")):
                reach = [
                    pattern
                    for sid, statement in statements(github, f"{role}-permissions").items()
                    if sid.startswith((prefix, "ReadRoles"))
                    and any(action.startswith(f"{service}:") for action in statement["actions"])
                    for pattern in statement["resources"]
                    if pattern != "*"
                ]
                assert any(fnmatchcase(arn, pattern) for pattern in reach), f"{role}: {arn}"
    assert named > 30


def test_one_environments_role_reaches_nothing_of_another(synth: Synth, tmp_path: Path) -> None:
    synth(GITHUB | {"suffix": ""}, account=ACCOUNT)
    github = json.loads((tmp_path / "cdktf.out/stacks/github/cdk.tf.json").read_text())
    reach = {
        pattern
        for statement in statements(github, "deploy-permissions").values()
        for pattern in statement["resources"]
        if pattern != "*" and statement.get("effect") != "Deny"
    }
    resources = synth(GITHUB | {"suffix": "-prod", "events": {"rules": ROUTES}}, account=ACCOUNT)["resource"]
    account = "${data.aws_caller_identity.caller.account_id}"
    for kind, pattern in ARNS.items():
        for resource in resources.get(kind, {}).values():
            arn = pattern.format(region="eu-central-1", account=ACCOUNT, **resource).replace(account, ACCOUNT)
            if "event_bus_name" in resource:
                arn = arn.replace("rule/", "rule/cv2kinesis-events-prod/")
            assert not any(fnmatchcase(arn, reached) for reached in reach), arn


def test_the_plan_reads_and_writes_nothing_but_the_lock(stack: dict[str, Any]) -> None:
    reading = ("Describe", "Get", "List", "View")
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
    [services] = found.pop("MakeServicesRoles")["condition"]
    assert services["variable"] == "iam:AWSServiceName"
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
    pipeline = synth(GITHUB | {"service": {"retrieval_mode": "FANOUT"}, "events": {"rules": ROUTES}}, account=ACCOUNT)
    within = [action for s in statements(stack, "boundary-permissions").values() for action in s["actions"]]
    for role in ("task", "execution", "routes"):
        needed = [action for s in statements(pipeline, f"{role}-permissions").values() for action in s["actions"]]
        assert [action for action in needed if not any(fnmatch(action, allowed) for allowed in within)] == []


@pytest.mark.thorough
def test_iam_takes_the_policies(synth: Synth, terraform: Callable[[str], Terraform], aws: Aws, tmp_path: Path) -> None:
    # With everything turned on and the longest names.
    values = GITHUB | {
        "suffix": "-" + "x" * 16,
        "stream": {"name": "s" * 111},
        "storage": REPLICA | {"queue": "q" * 52, "bucket": "b" * 8 + "-{account}-{region}"},
        "encryption": {"key": "own"},
        "events": {"rules": {f"{kind}{'x' * 22}-{n}": route for n in range(4) for kind, route in ROUTES.items()}},
    }
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
    for name in ("boundary", "deploy"):
        arn = f"arn:aws:iam::{ACCOUNT}:policy/cv2kinesis-{name}{values['suffix']}"
        document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
        assert (name, len(json.dumps(document, separators=(",", ":")))) < (name, MAX_MANAGED_POLICY)
    assert github.planned() == {}
    github.run("destroy", "-auto-approve", "-no-color")

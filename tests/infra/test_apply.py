"""The stack as an operator deploys it on the embedded AWS: it is applied, used, changed and destroyed.

The worker runs with the environment of the registered task definition, and with its role's own
credentials, which IAM checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.permissions import enforcement
from local.processes import ROOT, Aws, Worker
from local.resources import aws_environment, client
from tests.infra.conftest import ACCOUNT, Checkout, Terraform, skip_without_provider
from tests.infra.privileges import allowed, allowed_to_the_worker, forbidden_to_the_worker

REGION = "eu-south-1"
# Attributes, by address, that moto does not give back as they were set; AWS does.
MOTO_DRIFT = {
    # forgets the description of a rule that names a group
    "aws_vpc_security_group_ingress_rule.tasks-from-balancer": {"description"},
    "aws_vpc_security_group_egress_rule.balancer-to-tasks": {"description"},
    "aws_vpc_security_group_ingress_rule.endpoints-from-tasks": {"description"},
    # forgets which objects are copied beside plain ones: those under a KMS key, and markers of deletion
    "aws_s3_bucket_replication_configuration.frames-replication": {"rule"},
    # does not know these settings of a service
    "aws_ecs_service.service": {"health_check_grace_period_seconds", "availability_zone_rebalancing"},
}
FRAMES = 12
ENVIRONMENT = (
    'suffix = "-t1"\n[stream]\nshards = {shards}\n[service]\ncpu = {cpu}\nmemory = 4096\nmodel_size = "{size}"\n'
)


@pytest.mark.thorough
def test_deploy_work_change_destroy(checkout: Callable[[str], Checkout], aws: Aws, tmp_path: Path) -> None:
    operator = checkout(REGION)
    operator.configure(ENVIRONMENT.format(shards=1, cpu=512, size="n"))
    made = operator.run("bootstrap", "--auto-approve")
    skip_without_provider(made.stdout)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    # The image is built, and its way through the registry ends, where there is a registry: see test_image.py.
    deployed = operator.succeed("deploy", "--auto-approve", "--no-image")
    assert "asleep: the first frame starts a task" in deployed
    operator.stack.run("validate")

    # A second plan shows no change, and the HCL for people plans no change either.
    assert drift(operator.stack) == {}
    assert drift(readable(operator, aws)) == {}

    outputs = {name: output["value"] for name, output in json.loads(operator.succeed("outputs")).items()}
    assert outputs["KinesisStreamName"] == "cv2kinesis-t1"
    assert outputs["S3BucketName"] == f"processedframes-{ACCOUNT}-{REGION}-t1"
    (tmp_path / "outputs.json").write_text(json.dumps(outputs))
    environment = container_environment(aws, outputs)
    assert "yolov8n-" in operator.succeed("status", "--json")

    administrator, task = administrator_of(aws), credentials_of(aws, "cv2kinesis-task-t1")
    with enforcement(aws.url):
        run_the_main_job(operator, aws, environment, administrator, task, tmp_path)
        assert_least_privilege(aws, outputs, administrator, task)

    # More shards and CPU are an update in place; nothing that holds data is replaced.
    operator.configure(ENVIRONMENT.format(shards=2, cpu=1024, size="s"))
    operator.succeed("plan")
    changes = {address: c["actions"] for address, c in operator.stack.planned().items() if address not in MOTO_DRIFT}
    assert changes == {
        "aws_kinesis_stream.stream": ["update"],
        "aws_appautoscaling_target.scaling-target": ["update"],  # two shards, two tasks
        "aws_appautoscaling_scheduled_action.scaling-look": ["update"],
        "aws_appautoscaling_scheduled_action.scaling-look-ends": ["update"],
        "aws_appautoscaling_policy.scaling-out": ["create"],
        "aws_appautoscaling_policy.scaling-cpu": ["create"],
        "aws_appautoscaling_policy.scaling-in": ["create"],
        "aws_cloudwatch_metric_alarm.scaling-alarm-out": ["create"],
        "aws_cloudwatch_metric_alarm.scaling-alarm-out-unowned": ["create"],
        "aws_cloudwatch_metric_alarm.scaling-alarm-in": ["create"],
        "aws_ecs_task_definition.task-definition": ["delete", "create"],  # a new revision
    }
    operator.succeed("deploy", "--auto-approve", "--no-image")
    assert drift(operator.stack) == {}
    assert json.loads(operator.succeed("status", "--json"))["shards"] == 2

    # S3 refuses to destroy frames by the way; they are deleted first.
    refused = operator.run("destroy", "--auto-approve")
    assert refused.returncode == 1
    assert "BucketNotEmpty" in refused.stderr + refused.stdout
    empty(aws, outputs["S3BucketName"])
    operator.succeed("destroy", "--auto-approve")
    assert operator.stack.state() == []
    assert "cv2kinesis-t1" not in connect(aws, "kinesis").list_streams()["StreamNames"]


def drift(stack: Terraform) -> dict[str, Any]:
    """What a plan would change, apart from attributes that moto forgets."""
    changes = stack.planned()
    return {
        address: change
        for address, change in changes.items()
        if change["actions"] != ["update"] or change["attributes"] - MOTO_DRIFT.get(address, set())
    }


def readable(operator: Checkout, aws: Aws) -> Terraform:
    """The stack as HCL, on the same state."""
    folder = operator.folder / "cdktf.out/hcl"
    env = operator.env | {"SYNTH_HCL_OUTPUT": "true", "CDKTF_OUTDIR": str(folder), "ACCOUNT": ACCOUNT}
    subprocess.run([sys.executable, "main.py"], cwd=operator.folder, env=env, check=True, capture_output=True)
    assert (folder / "stacks/own/cdk.tf").read_text().startswith("terraform {")
    stack = Terraform(folder / "stacks/own", aws)
    stack.init()
    return stack


def run_the_main_job(
    operator: Checkout, aws: Aws, environment: dict[str, str], administrator: dict[str, str], task: dict[str, str],
    folder: Path,
) -> None:  # fmt: skip
    """A smoke test on a worker that has nothing but what the deployment gives it."""
    env = aws_environment(aws.url) | environment | task
    env["YOLO_MODEL_PATH"] = str(ROOT / "models" / "street.onnx")  # stands in for the model in the image
    # Another consumer's result, which the smoke test must leave on the queue.
    queue = environment["SQS_QUEUE_URL"]
    with Worker(env, folder / "worker.log") as worker:
        send(operator, administrator, "before")
        smoke = operator.succeed("smoke", "--frames", str(FRAMES), env=administrator)
        assert f"stored     {FRAMES} annotated frames\n" in smoke
        assert f"announced  {FRAMES} results\n" in smoke
        assert worker.stop() == 0
    sqs = boto3.client("sqs", endpoint_url=aws.url, region_name=REGION, **keys(administrator))
    [left] = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
    assert json.loads(left["Body"])["source"] == "before"
    status = json.loads(operator.succeed("status", "--json", env=administrator))
    assert status["leases"] == {"shardId-000000000000": ""}  # released


def send(operator: Checkout, credentials: dict[str, str], source: str) -> None:
    """Sends a frame with the CLI, which finds its stream in the outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "producer", "send", "demo", "--limit", "1", "--source-id", source,
         "--from-outputs", str(operator.folder / "outputs.json")],
        env=operator.env | credentials, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def assert_least_privilege(
    aws: Aws, outputs: dict[str, str], administrator: dict[str, str], task: dict[str, str]
) -> None:
    """Checks that the enforcement works, then that the worker's role has its permissions and no others."""
    nothing = role(aws, administrator, "nothing", [])
    everything = role(aws, administrator, "everything", [{"Effect": "Allow", "Action": "*", "Resource": "*"}])
    rights, others = allowed_to_the_worker(outputs), forbidden_to_the_worker(outputs)
    for call in (*rights, *others):
        assert (call.name, allowed(aws, REGION, nothing, call)) == (call.name, False)
        assert (call.name, allowed(aws, REGION, everything, call)) == (call.name, True)
    assert {call.name for call in rights if not allowed(aws, REGION, task, call)} == set()
    assert {call.name for call in others if allowed(aws, REGION, task, call)} == set()


def connect(aws: Aws, service: str) -> Any:
    return boto3.client(
        service, endpoint_url=aws.url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
    )


def keys(env: dict[str, str]) -> dict[str, str]:
    """Credentials from variables to boto3's arguments."""
    return {name.lower(): value for name, value in env.items()}


def administrator_of(aws: Aws) -> dict[str, str]:
    """A user who may do everything."""
    iam, name = client("iam", aws.url), "administrator"
    iam.create_user(UserName=name)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def role(aws: Aws, administrator: dict[str, str], name: str, statements: list[dict[str, Any]]) -> dict[str, str]:
    """Credentials of a new role; one without statements has no policy."""
    iam = boto3.client("iam", endpoint_url=aws.url, region_name=REGION, **keys(administrator))
    user = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/administrator"}
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": user, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document)
    return credentials_of(aws, name, administrator)


def credentials_of(aws: Aws, name: str, who: dict[str, str] | None = None) -> dict[str, str]:
    """The credentials that ECS would hand to a task of this role."""
    given = keys(who) if who else {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    sts = boto3.client("sts", endpoint_url=aws.url, region_name=REGION, **given)
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    credentials = sts.assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }


def container_environment(aws: Aws, outputs: dict[str, str]) -> dict[str, str]:
    """The environment variables that ECS would give the container."""
    ecs = connect(aws, "ecs")
    [service] = ecs.describe_services(cluster=outputs["ClusterName"], services=[outputs["ServiceName"]])["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    [container] = definition["containerDefinitions"]
    return {entry["name"]: entry["value"] for entry in container["environment"]}


def empty(aws: Aws, bucket: str) -> None:
    s3 = connect(aws, "s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"])

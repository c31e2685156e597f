"""The stack as GitHub's roles deploy it on the embedded AWS, where IAM is enforced: planned, applied, used, changed and
destroyed.

The worker runs with the environment of the registered task definition, and with its role's own credentials.
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

from local.fargate import Fargate
from local.permissions import enforcement
from local.processes import ROOT, Aws
from local.resources import aws_environment, client
from local.waiting import wait_for
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
ENVIRONMENT = """\
suffix = "-t1"
[github]
repository = "owner/cv2kinesis"
[stream]
shards = {shards}
[sources]
store = "all"
keep_days = 3
[[sources.events]]
name = "visitor"
kind = "appear"
min_seconds = 0
[events.rules.guard]
kinds = ["appear"]
phase = "start"
email = "guard@example.com"
[events.rules.mine]
queue = "arn:aws:sqs:{region}:{account}:mine"
[events.rules.hook]
webhook = "https://example.com/events"
secret = "/cv2kinesis/hook"
[events.rules.far]
bus = "arn:aws:events:{region}:210987654321:event-bus/theirs"
[service]
cpu = {cpu}
memory = 4096
model_size = "{size}"
"""


def environment(**values: Any) -> str:
    """The text of the environment's file."""
    return ENVIRONMENT.format(region=REGION, account=ACCOUNT, **values)


@pytest.mark.thorough
def test_deploy_work_change_destroy(checkout: Callable[[str], Checkout], aws: Aws, tmp_path: Path) -> None:
    operator, administrator = checkout(REGION), user(aws, "administrator", "*")
    operator.configure(environment(shards=1, cpu=512, size="n"))
    secret = {"Name": "/cv2kinesis/hook", "Value": "word", "Type": "SecureString"}
    connect(aws, "ssm", administrator).put_parameter(**secret)
    mine = connect(aws, "sqs", administrator).create_queue(QueueName="mine")["QueueUrl"]
    made = operator.run("bootstrap", "--auto-approve")
    skip_without_provider(made.stdout)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    plan, deploy = (credentials_of(aws, f"cv2kinesis-{name}-t1") for name in ("plan", "deploy"))

    tasks = fargate(aws, administrator, tmp_path)

    # From here on nobody is an administrator by default: GitHub's roles do the rest.
    with enforcement(aws.url), tasks:
        operator.succeed("plan", "--out", "plan", env=plan)
        refused = operator.run("deploy", "--auto-approve", "--no-image", env=plan)
        # Before anything is changed: it may not read the webhook's secret.
        assert (refused.returncode, "/cv2kinesis/hook: AccessDeniedException" in refused.stderr) == (2, True)
        # The image is built, and its way through the registry ends, where there is a registry: see test_image.py.
        deployed = operator.succeed("deploy", "--auto-approve", "--no-image", env=deploy)
        # Nobody sends, but a task was started to see it become healthy.
        assert "1 of 1 tasks healthy" in deployed
        operator.stack.credentials = plan
        operator.stack.run("validate")

        # A second plan shows no change, and the HCL for people plans no change either.
        assert drift(operator.stack) == {}
        assert drift(readable(operator, aws)) == {}

        outputs = {n: output["value"] for n, output in json.loads(operator.succeed("outputs", env=deploy)).items()}
        assert outputs["KinesisStreamName"] == "cv2kinesis-t1"
        assert outputs["S3BucketName"] == f"processedframes-{ACCOUNT}-{REGION}-t1"
        (tmp_path / "outputs.json").write_text(json.dumps(outputs))
        assert "yolov8n-" in operator.succeed("status", "--json", env=deploy)

        run_the_main_job(operator, aws, administrator, deploy)
        # A frame led to an event, the event to the bus, and a rule of the bus to its target.
        events = take(connect(aws, "sqs", administrator), mine)
        [started] = {event["event_id"] for event in events if event["source"].startswith("smoke-")}
        assert {event["phase"] for event in events if event["event_id"] == started} >= {"start"}
        sleep(aws, administrator, operator, deploy)
        assert_least_privilege(aws, outputs, administrator, tasks.credentials("cv2kinesis-task-t1"))

        # More shards and CPU are an update in place; nothing that holds data is replaced.
        operator.configure(environment(shards=2, cpu=1024, size="s"))
        operator.succeed("plan", env=plan)
        changes = {a: c["actions"] for a, c in operator.stack.planned().items() if a not in MOTO_DRIFT}
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
        old = tasks.definition
        deployed = operator.succeed("deploy", "--auto-approve", "--no-image", env=deploy)
        # Of the definition before it, a task was started first, so that a failure would have been rolled back to it.
        assert tasks.started == 3
        assert (old, tasks.definition) == ("videoPipeline-t1:1", "videoPipeline-t1:2")
        assert drift(operator.stack) == {}
        assert json.loads(operator.succeed("status", "--json", env=deploy))["shards"] == 2

        # S3 refuses to destroy frames by the way; they are deleted first, by somebody who may read and delete them.
        refused = operator.run("destroy", "--auto-approve", env=deploy)
        assert refused.returncode == 1
        assert "BucketNotEmpty" in refused.stderr + refused.stdout
        empty(aws, administrator, outputs["S3BucketName"])
        operator.succeed("destroy", "--auto-approve", env=deploy)
        assert operator.stack.state() == []
        assert "cv2kinesis-t1" not in connect(aws, "kinesis", administrator).list_streams()["StreamNames"]


def fargate(aws: Aws, administrator: dict[str, str], folder: Path) -> Fargate:
    """The tasks of the environment; each has nothing but its definition and its role's credentials."""
    ecs = user(aws, "ecs-tasks.amazonaws.com", "sts:AssumeRole")
    return Fargate(
        lambda service: connect(aws, service, administrator),
        "VideoPipelineStack-Cluster-t1",
        "VideoPipelineStack-Service-t1",
        # The model stands in for the one in the image.
        aws_environment(aws.url)
        | {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")},
        lambda name: credentials_of(aws, name, ecs),
        folder,
    )


def sleep(aws: Aws, administrator: dict[str, str], operator: Checkout, deploy: dict[str, str]) -> None:
    """Lets the task go, as autoscaling does when nothing comes, and waits until its lease is free."""
    ecs = connect(aws, "ecs", administrator)
    ecs.update_service(cluster="VideoPipelineStack-Cluster-t1", service="VideoPipelineStack-Service-t1", desiredCount=0)

    def free() -> bool:
        status = json.loads(operator.succeed("status", "--json", env=deploy))
        return bool(status["leases"] == {"shardId-000000000000": ""} and not status["running"])

    wait_for(free, "a free lease")


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
    stack.credentials = operator.stack.credentials
    stack.init()
    return stack


def run_the_main_job(operator: Checkout, aws: Aws, administrator: dict[str, str], deploy: dict[str, str]) -> None:
    """A smoke test as the role that deploys, on a task that has nothing but what the deployment gives it."""
    # Another consumer's result, which the smoke test must leave on the queue.
    queue = json.loads(operator.succeed("outputs", env=deploy))["SQSQueueURL"]["value"]
    send(operator, administrator, "before")
    smoke = operator.succeed("smoke", "--frames", str(FRAMES), env=deploy)
    assert f"stored     {FRAMES} annotated frames\n" in smoke
    assert f"announced  {FRAMES} results\n" in smoke
    sqs = connect(aws, "sqs", administrator)
    [left] = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
    assert json.loads(left["Body"])["source"] == "before"


def take(sqs: Any, queue: str) -> list[dict[str, Any]]:
    """The events that a rule has sent to its queue."""
    found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    bodies = [json.loads(message["Body"]) for message in found]
    assert {(body["source"], body["detail-type"].partition(" ")[0]) for body in bodies} == {("cv2kinesis", "event")}
    return [body["detail"] for body in bodies]


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


def connect(aws: Aws, service: str, who: dict[str, str], region: str = REGION) -> Any:
    return boto3.client(service, endpoint_url=aws.url, region_name=region, **keys(who))


def keys(env: dict[str, str]) -> dict[str, str]:
    """Credentials from variables to boto3's arguments."""
    return {name.lower(): value for name, value in env.items()}


def user(aws: Aws, name: str, action: str) -> dict[str, str]:
    """The key of a user who may do something to everything."""
    iam = client("iam", aws.url)
    iam.create_user(UserName=name)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def role(aws: Aws, administrator: dict[str, str], name: str, statements: list[dict[str, Any]]) -> dict[str, str]:
    """Credentials of a new role; one without statements has no policy."""
    iam = connect(aws, "iam", administrator)
    user = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/administrator"}
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": user, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=document)
    return credentials_of(aws, name, administrator)


def credentials_of(aws: Aws, name: str, who: dict[str, str] | None = None) -> dict[str, str]:
    """The credentials of a role's session."""
    anybody = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    sts = connect(aws, "sts", who or anybody)
    arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
    credentials = sts.assume_role(RoleArn=arn, RoleSessionName="task")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }


def empty(aws: Aws, administrator: dict[str, str], bucket: str) -> None:
    s3 = connect(aws, "s3", administrator)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"])

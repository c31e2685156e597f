"""The stack as synthesised, applied by terraform to the embedded AWS, and the worker on what it made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.processes import ROOT, Aws, Worker
from local.resources import aws_environment, client
from tests.infra.conftest import Synth, Terraform

# What moto does not give back as it was set, by address and attribute; AWS does.
MOTO_DRIFT = {
    "aws_kinesis_stream.stream": {"tags_all"},  # ignores tags at creation
    "aws_sqs_queue.results": {"redrive_policy"},  # writes its JSON with other white space
    "aws_sqs_queue_policy.results-policy": {"policy"},  # unknown, because its queue would change
    # forgets the description of a rule that names a group
    "aws_vpc_security_group_ingress_rule.tasks-from-balancer": {"description"},
    "aws_vpc_security_group_egress_rule.balancer-to-tasks": {"description"},
    # does not know these settings of a service
    "aws_ecs_service.service": {"health_check_grace_period_seconds", "availability_zone_rebalancing"},
    # unknown, because the documents name the stream and the queue that would change
    "aws_iam_role_policy.task-policy": {"policy"},
}
FRAMES = 12


@pytest.mark.timeout(900)
def test_apply_plan_run_update_destroy(
    synth: Synth, terraform: Callable[[str], Terraform], aws: Aws, tmp_path: Path
) -> None:
    synth({"suffix": "-t1"})
    stack = terraform("test")
    stack.init()
    stack.apply()

    drift = stack.planned()
    assert {address for address, change in drift.items() if change["actions"] != ["update"]} == set()
    unexpected = {a: c["attributes"] - MOTO_DRIFT.get(a, set()) for a, c in drift.items()}
    assert {address: names for address, names in unexpected.items() if names} == {}

    outputs = stack.outputs()
    assert outputs["KinesisStreamName"] == "cv2kinesis-t1"
    assert outputs["S3BucketName"] == "processedframes-123456789012-eu-central-1-t1"
    run_the_main_job(aws, outputs, tmp_path)

    # More shards and CPU are an update in place; nothing that holds data is replaced.
    synth({"suffix": "-t1", "stream": {"shards": 2}, "service": {"cpu": 1024, "memory": 4096, "model_size": "s"}})
    changes = {address: c["actions"] for address, c in stack.planned().items() if address not in MOTO_DRIFT}
    assert changes == {
        "aws_ecs_task_definition.task-definition": ["delete", "create"],  # a new revision
        "aws_ssm_parameter.parameter-yolo-model-size": ["update"],
    }

    # Emptied first, as an operator must: frames are never deleted by the way.
    empty(aws, outputs["S3BucketName"])
    stack.run("destroy", "-auto-approve", "-no-color")
    assert stack.state() == []
    assert "cv2kinesis-t1" not in client("kinesis", aws.url).list_streams()["StreamNames"]


def run_the_main_job(aws: Aws, outputs: dict[str, str], folder: Path) -> None:
    """The worker with nothing but what the registered task definition and Parameter Store give it."""
    env = aws_environment(aws.url) | container_environment(aws, outputs)
    env["YOLO_MODEL_PATH"] = str(ROOT / "models" / "street.onnx")  # stands in for the one in the image
    with Worker(env, folder / "worker.log") as worker:
        sent = command(env, "producer", "send", "demo", "--limit", str(FRAMES), "--fps", "0", "--json")
        assert json.loads(sent)["sent"] == FRAMES
        lines = command(env, "consumer", "watch", "--json", "--limit", str(FRAMES), "--idle-exit", "40")
        assert worker.stop() == 0
    messages = [json.loads(line) for line in lines.splitlines()]
    assert [message["frame_index"] for message in messages] == list(range(FRAMES))
    assert {message["bucket"] for message in messages} == {outputs["S3BucketName"]}
    leases = client("dynamodb", aws.url).scan(TableName="cv2kinesis-t1")["Items"]
    assert [lease["checkpoint"]["S"] for lease in leases] == [messages[-1]["sequence_number"]]


def container_environment(aws: Aws, outputs: dict[str, str]) -> dict[str, str]:
    """What ECS would put into the container's environment."""
    ecs, ssm = client("ecs", aws.url), client("ssm", aws.url)
    [service] = ecs.describe_services(cluster=outputs["ClusterName"], services=[outputs["ServiceName"]])["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    [container] = definition["containerDefinitions"]
    env = {entry["name"]: entry["value"] for entry in container["environment"]}
    for secret in container["secrets"]:
        name = secret["valueFrom"].partition(":parameter")[2]
        env[secret["name"]] = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    return env


def command(env: dict[str, str], module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def empty(aws: Aws, bucket: str) -> None:
    s3: Any = client("s3", aws.url)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"])

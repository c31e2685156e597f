"""`make verify-account` on the embedded AWS, with real workers and stand-ins for Fargate and for alarms."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cloud.errors import ERRORS
from local.alarms import Alarms
from local.fargate import Fargate
from local.processes import ROOT, Aws
from local.resources import aws_environment
from local.waiting import wait_for
from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names
from stacks.verify import empty, throw_away
from tests.infra.conftest import ACCOUNT, Checkout, skip_without_provider
from tests.infra.test_apply import credentials_of

REGION = "eu-west-2"
STATE = f"cv2kinesis-terraform-state-{ACCOUNT}-{REGION}"
FRAMES = 8
COMMAND = ("verify-account", "--auto-approve", "--frames", str(FRAMES), "--rest", "0", "--out", "report.md")
# Less to make, and the same steps.
ENVIRONMENT = "[service]\nbalancer = false\n"


def test_a_throw_away_environment_is_nobodys() -> None:
    config = Config.of({
        "suffix": "-prod", "stream": {"shards": 2}, "service": {"min_tasks": 1, "cpu": 1024, "memory": 4096},
        "github": {"repository": "owner/cv2kinesis"},
    })  # fmt: skip
    (one, first), (other, second) = throw_away(config), throw_away(config)
    assert one != other
    assert len({config.suffix, first.suffix, second.suffix}) == 3
    assert (first.github.repository, first.service.min_tasks) == ("", 0)
    assert (first.service.cpu, first.stream.shards) == (1024, 2)


def test_an_object_or_an_image_that_stays_is_told() -> None:
    """S3 and ECR answer 200 to a deletion of many and tell of each that failed, such as one that somebody locked."""
    config = Config.of({"suffix": "-once"})
    bucket, repository = Names(config).bucket(ACCOUNT), Names(config).stream
    digest, clients = f"sha256:{64 * 'a'}", {name: unconnected(name) for name in ("ecs", "s3", "ecr")}
    with Stubber(clients["ecs"]) as ecs, Stubber(clients["s3"]) as s3, Stubber(clients["ecr"]) as ecr:

        def image(code: str) -> dict[str, Any]:
            return {"failures": [{"imageId": {"imageDigest": digest}, "failureCode": code}]}

        def delete() -> None:
            ecs.add_response("describe_services", {"services": []})
            empty(clients.__getitem__, config, ACCOUNT)

        s3.add_response("list_object_versions", {"Versions": [{"Key": "frames/1.jpg", "VersionId": "1"}]})
        s3.add_response("delete_objects", {"Errors": [{"Key": "frames/1.jpg", "Code": "AccessDenied"}]})
        with pytest.raises(DeployError, match=rf"^{bucket}: 1 objects stay: frames/1\.jpg: AccessDenied$"):
            delete()
        s3.add_response("list_object_versions", {})
        for code in ("ImageNotFound", "ImageReferencedByManifestList"):
            ecr.add_response("list_images", {"imageIds": [{"imageDigest": digest}]})
            ecr.add_response("batch_delete_image", image(code))
        with pytest.raises(DeployError, match=rf"^{repository}: 1 images stay: {digest}: ImageReferencedBy"):
            delete()


@pytest.fixture
def operator(checkout: Callable[[str], Checkout], aws: Aws) -> Checkout:
    """An operator of an account that has a bucket for the state."""
    connector(aws)("s3").create_bucket(Bucket=STATE, CreateBucketConfiguration={"LocationConstraint": REGION})
    made = checkout(REGION)
    made.configure(ENVIRONMENT)
    return made


@pytest.mark.thorough
def test_an_environment_is_made_used_put_to_sleep_woken_and_destroyed(
    operator: Checkout, aws: Aws, tmp_path: Path
) -> None:
    connect = connector(aws)
    with operator.start(*COMMAND, "--no-image") as command:
        suffix = wait_for(lambda: suffix_of(connect("ecs")) or not command.alive, "cluster", command.activity)
        if not command.alive:
            skip_without_provider("\n".join(command.lines()))
        config = Config.of({"region": REGION, "suffix": suffix})
        bucket = Names(config).bucket(ACCOUNT)

        def idle(knocks: int) -> bool:
            """Whether all frames are stored; each knock is of a smoke test."""
            stored = connect("s3").list_objects_v2(Bucket=bucket, Prefix="frames/")
            return bool(stored["KeyCount"] == knocks * FRAMES)

        alarms = Alarms(connect, lambda name: Names(config).own(f"scaling-{name}"), idle)

        def ended() -> bool:
            with suppress(*ERRORS):  # what is not there yet, or no longer
                alarms.look()
            return not command.alive

        with fargate(aws, connect, config, tmp_path) as tasks:
            wait_for(ended, "end", command.activity)

    report, output = (operator.folder / "report.md").read_text(), list(command.lines())
    assert command.process.returncode == 0, "\n".join((report, *output[-100:]))
    assert report.startswith(f"# cv2kinesis in account {ACCOUNT}, {REGION}\n")
    assert rows(report) == {
        "deploy, until a task is healthy": "passed",
        "frames through the task that was started": "passed",
        "sleep, as nothing comes": "passed",
        "frames that wake it": "passed",
        "stop tasks, delete frames and images": "passed",
        "destroy": "passed",
    }
    assert report.count(f"| {FRAMES} of {FRAMES} in ") == 2
    # The deployment has started the first task, and a knock the second.
    assert (tasks.started, alarms.changes[:2]) == (2, [0, 1])
    assert left(connect, operator) == set()


@pytest.mark.thorough
def test_a_step_that_fails_is_told_and_what_was_made_is_destroyed(operator: Checkout, aws: Aws, tmp_path: Path) -> None:
    """Without anything that builds an image, the deployment ends when the registry is made."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("node", "terraform"):
        (programs / name).symlink_to(str(shutil.which(name)))
    done = operator.run(*COMMAND, env={"PATH": str(programs)})
    skip_without_provider(done.stdout)
    assert done.returncode == 1
    assert "aws_ecr_repository.repository: Creation complete" in done.stdout
    report = (operator.folder / "report.md").read_text()
    assert report in done.stdout
    assert rows(report) == {
        "deploy, until a task is healthy": "**failed**",
        "stop tasks, delete frames and images": "passed",
        "destroy": "passed",
    }
    assert "| the image needs one of docker, podman, buildah: install one, or start it |" in report
    assert "Traceback" not in done.stderr
    assert left(connector(aws), operator) == set()


def connector(aws: Aws) -> Callable[[str], Any]:
    """Makes clients of an administrator."""
    return lambda service: boto3.client(
        service, endpoint_url=aws.url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
    )


def unconnected(service: str) -> Any:
    return boto3.client(service, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local")


def suffix_of(ecs: Any) -> str:
    """The suffix of the environment whose cluster is there; empty if there is none."""
    names = [arn.rpartition("/")[2] for arn in ecs.list_clusters()["clusterArns"]]
    return names[0].removeprefix("VideoPipelineStack-Cluster") if names else ""


def fargate(aws: Aws, connect: Callable[[str], Any], config: Config, folder: Path) -> Fargate:
    """The tasks of the environment, on the demo's model."""
    region = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    environment = aws_environment(aws.url) | region | {"YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
    names = Names(config)
    return Fargate(
        connect, names.cluster, names.service, environment, lambda name: credentials_of(aws, name), folder
    )  # fmt: skip


def rows(report: str) -> dict[str, str]:
    """The outcomes of the report's steps, by name."""
    table = [line.split(" | ") for line in report.splitlines() if line.startswith("| ")][2:]
    return {name.removeprefix("| "): outcome for name, outcome, *_ in table}


def left(connect: Callable[[str], Any], operator: Checkout) -> set[str]:
    """What is there beside the bucket of the state; and of folders that terraform ran in."""
    s3, kms = connect("s3"), connect("kms")
    # ECS keeps clusters that are gone for a while: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
    clusters = connect("ecs").describe_clusters(clusters=connect("ecs").list_clusters()["clusterArns"])["clusters"]
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    return {
        *(bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if bucket["Name"] != STATE),
        *(state["Key"] for state in s3.list_objects_v2(Bucket=STATE).get("Contents", [])),
        *connect("kinesis").list_streams()["StreamNames"],
        *connect("sqs").list_queues().get("QueueUrls", []),
        *connect("dynamodb").list_tables()["TableNames"],
        *(cluster["clusterName"] for cluster in clusters if cluster["status"] == "ACTIVE"),
        *(repository["repositoryName"] for repository in connect("ecr").describe_repositories()["repositories"]),
        *(role["RoleName"] for role in connect("iam").list_roles()["Roles"]),
        *(group["logGroupName"] for group in connect("logs").describe_log_groups()["logGroups"]),
        *(vpc["VpcId"] for vpc in connect("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]),
        *(alarm["AlarmName"] for alarm in connect("cloudwatch").describe_alarms()["MetricAlarms"]),
        *(
            key["Description"]
            for key in keys
            if key["KeyState"] != "PendingDeletion" and "cv2kinesis" in key["Description"]
        ),
        *(folder.name for folder in (operator.folder / "cdktf.out/stacks").glob("verify-*")),
    }

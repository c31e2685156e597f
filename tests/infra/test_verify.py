"""`make verify-account` on the embedded AWS, with the real worker and stand-ins for Fargate, alarms and autoscaling."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import boto3
import pytest

from cloud.errors import ERRORS
from contract.metrics import PRODUCERS, STARTED
from local.fargate import Fargate
from local.processes import ROOT, Aws
from local.resources import aws_environment
from stacks.config import Config
from stacks.verify import throw_away
from tests.infra.conftest import ACCOUNT, Checkout, skip_without_provider
from tests.infra.test_apply import credentials_of

REGION = "eu-west-2"
FRAMES = 8


def test_a_throw_away_environment_is_nobodys() -> None:
    config = Config.of({
        "suffix": "-prod", "stream": {"shards": 2}, "service": {"min_tasks": 1, "cpu": 1024},
        "github": {"repository": "owner/cv2kinesis"},
    })  # fmt: skip
    (one, first), (other, second) = throw_away(config), throw_away(config)
    assert one != other
    assert len({config.suffix, first.suffix, second.suffix}) == 3
    assert (first.github.repository, first.service.min_tasks, first.service.cpu, first.stream.shards) == (
        "",
        0,
        1024,
        2,
    )


def connect(aws: Aws, service: str) -> Any:
    """A client in the region of these tests."""
    return boto3.client(
        service, endpoint_url=aws.url, region_name=REGION, aws_access_key_id="local", aws_secret_access_key="local"
    )


class Account:
    """What an account has and moto has not: tasks that run, an alarm that hears a knock, one that sees that all is
    done."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self._aws, self._folder, self._ending = aws, folder, threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self._stack = ExitStack()
        self._seen = 0
        self.changes: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._stack.close()

    def _connect(self, service: str) -> Any:
        return connect(self._aws, service)

    def _keep(self) -> None:
        ecs, found = self._connect("ecs"), False
        while not self._ending.wait(0.5):
            with suppress(*ERRORS, StopIteration):
                arn = next(arn for arn in ecs.list_clusters()["clusterArns"] if "Cluster-v" in arn)
                suffix = arn.rpartition("Cluster")[2]
                cluster, service = (f"VideoPipelineStack-{kind}{suffix}" for kind in ("Cluster", "Service"))
                if not found:
                    found = True
                    self._stack.enter_context(self._fargate(cluster, service))
                self._scale(ecs, cluster, service, suffix)

    def _fargate(self, cluster: str, service: str) -> Fargate:
        environment = aws_environment(self._aws.url) | {
            "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
        }  # fmt: skip
        return Fargate(
            self._connect, cluster, service, environment, lambda name: credentials_of(self._aws, name), self._folder
        )

    def _scale(self, ecs: Any, cluster: str, service: str, suffix: str) -> None:
        """One task for each knock; none once all frames of it are stored."""
        now = datetime.now(UTC)
        points = self._connect("cloudwatch").get_metric_statistics(
            Namespace=PRODUCERS, MetricName=STARTED, Period=3600, Statistics=["Sum"],
            Dimensions=[{"Name": "StreamName", "Value": f"cv2kinesis{suffix}"}],
            StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1),
        )["Datapoints"]  # fmt: skip
        knocks = int(sum(point["Sum"] for point in points))
        bucket = f"processedframes-{ACCOUNT}-{REGION}{suffix}"
        stored = self._connect("s3").list_objects_v2(Bucket=bucket, Prefix="frames/").get("KeyCount", 0)
        [described] = ecs.describe_services(cluster=cluster, services=[service])["services"]
        wanted = described["desiredCount"]
        if knocks > self._seen:
            self._seen = knocks
            wanted = max(wanted, 1)
        elif knocks and stored == FRAMES * knocks:
            wanted = 0
        if wanted != described["desiredCount"]:
            self.changes.append(wanted)
            ecs.update_service(cluster=cluster, service=service, desiredCount=wanted)


@pytest.mark.thorough
def test_the_report_of_an_account(checkout: Callable[[str], Checkout], aws: Aws, tmp_path: Path) -> None:
    operator = checkout(REGION)
    operator.configure("")
    made = operator.run("bootstrap", "--auto-approve")
    skip_without_provider(made.stdout)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    with Account(aws, tmp_path) as account:
        operator.succeed(
            "verify-account", "--auto-approve", "--no-image", "--frames", str(FRAMES), "--out", str(tmp_path / "r.md")
        )
    report = (tmp_path / "r.md").read_text()
    assert report.startswith(f"# cv2kinesis in account {ACCOUNT}, {REGION}\n")
    assert report.count("| passed |") == 5
    assert "| frames that wake it | passed |" in report
    assert f"{FRAMES} of {FRAMES} in " in report
    assert account.changes[:2] == [0, 1]
    assert connect(aws, "ecs").list_clusters()["clusterArns"] == []

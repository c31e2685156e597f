"""Deploys a throw-away environment into a real account, uses it, takes it down, and reports: `make verify-account`.

It shows what no emulator can: that AWS takes the plan, that a task starts in Fargate and becomes healthy, that the
alarms put it to sleep and wake it, and that everything goes again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from botocore.exceptions import ClientError

from cloud.errors import ERRORS, Kind, classify, describe
from stacks import operate
from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names

# `sleep` looks at a quarter of an hour, minute by minute, and its metrics come late.
SLEEP_SECONDS: Final = 30 * 60
# The alarm `knock` looks two minutes back for tasks, and ECS's metrics of them come up to two minutes late.
REST_SECONDS: Final = 5 * 60
POLL_SECONDS: Final = 10
DELETED_AT_ONCE: Final = 1000


@dataclass
class Step:
    """A step: what was done, whether it succeeded, and what was seen."""

    name: str
    seconds: float = 0
    passed: bool = False
    seen: str = ""


@dataclass
class Report:
    """The steps of a verification, as they are made."""

    account: str
    region: str
    environment: str
    steps: list[Step] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(step.passed for step in self.steps)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times a step; what goes wrong in it is noted and raised.

        Raises:
            DeployError: If the step fails.
        """
        step = Step(name)
        self.steps.append(step)
        print(f"{name} …", flush=True)
        started = time.monotonic()
        try:
            yield step
            step.passed = True
        except DeployError as error:
            step.seen = str(error)
            raise
        except ERRORS as error:
            step.seen = describe(error)
            raise DeployError(step.seen) from None
        except KeyboardInterrupt:
            step.seen = "interrupted"
            raise
        finally:
            step.seconds = time.monotonic() - started

    def markdown(self) -> str:
        """The report for an issue or a page."""
        rows = "\n".join(
            f"| {step.name} | {'passed' if step.passed else '**failed**'} | {step.seconds:.0f} s | {step.seen} |"
            for step in self.steps
        )
        outcome = "passed" if self.passed else "failed"
        return (
            f"# cv2kinesis in account {self.account}, {self.region}\n\n"
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, as {self.environment}: {outcome}\n\n"
            f"| step | outcome | took | seen |\n| --- | --- | --- | --- |\n{rows}\n"
        )


def throw_away(config: Config) -> tuple[str, Config]:
    """A name for an environment that is nobody's, and its configuration: that of another, which sleeps when it is idle
    and has no roles for workflows."""
    token = uuid4().hex[:6]
    values = config.model_dump(exclude_unset=True)
    values |= {"suffix": f"-v{token}", "github": {}}
    values["service"] = values.get("service", {}) | {"min_tasks": 0}
    return f"verify-{token}", Config.of(values)


def sleep(ecs: Any, config: Config, seconds: float = SLEEP_SECONDS) -> None:
    """Waits until autoscaling has stopped the last task.

    Raises:
        DeployError: If it takes longer.
    """
    deadline, before = time.monotonic() + seconds, ""
    while (service := operate.describe_service(ecs, config))["desiredCount"] or service["runningCount"]:
        state = f"{service['desiredCount']} tasks wanted, {service['runningCount']} running"
        if time.monotonic() > deadline:
            raise DeployError(f"{state} after {seconds:.0f} s without a frame")
        if state != before:
            print(f"  {state}", flush=True)
            before = state
        time.sleep(POLL_SECONDS)


def empty(client: Callable[[str], Any], config: Config, account: str) -> None:
    """Stops the tasks of an environment that is taken down, and deletes its frames and images, which go with neither
    bucket nor registry.

    Raises:
        DeployError: If a task does not stop, or an object or an image is not deleted.
    """
    ecs = client("ecs")
    if service := operate.find_service(ecs, config):
        ecs.update_service(cluster=service["clusterArn"], service=service["serviceName"], desiredCount=0)
        sleep(ecs, config)
    for delete in (_frames, _images):
        try:
            delete(client, config, account)
        except ClientError as error:
            if classify(error) is not Kind.MISSING:  # the deployment may not have come so far
                raise


def _frames(client: Callable[[str], Any], config: Config, account: str) -> None:
    s3, bucket = client("s3"), Names(config).bucket(account)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, MaxKeys=DELETED_AT_ONCE):
        keys = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for kind in ("Versions", "DeleteMarkers")
            for version in page.get(kind, [])
        ]
        if keys:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            if left := answer.get("Errors"):
                raise DeployError(f"{bucket}: {len(left)} objects stay: {left[0]['Key']}: {left[0].get('Code')}")


def _images(client: Callable[[str], Any], config: Config, _: str) -> None:
    """Tagged ones first: an image stays as long as a list of images refers to it.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html
    """
    ecr, repository = client("ecr"), Names(config).stream
    for status in ("TAGGED", "UNTAGGED"):
        pages = ecr.get_paginator("list_images").paginate(repositoryName=repository, filter={"tagStatus": status})
        for page in pages:
            if page["imageIds"]:
                answer = ecr.batch_delete_image(repositoryName=repository, imageIds=page["imageIds"])
                # With its last tag an image goes, and is no longer there under another of the page.
                left = [one for one in answer.get("failures", []) if one["failureCode"] != "ImageNotFound"]
                if left:
                    image, code = left[0]["imageId"].get("imageDigest"), left[0]["failureCode"]
                    raise DeployError(f"{repository}: {len(left)} images stay: {image}: {code}")

"""Operators' commands before anything is deployed, against the embedded AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from local.processes import Aws
from tests.infra.conftest import ACCOUNT, Checkout, skip_without_provider


@pytest.mark.thorough
def test_plan_asks_for_the_bootstrap_and_works_after_it(checkout: Callable[[str], Checkout], aws: Aws) -> None:
    operator = checkout("eu-south-2")
    operator.configure("")
    for command in ("plan", "deploy", "outputs"):
        refused = operator.run(command)
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1].startswith(
            "error: no bucket for the state in account 123456789012, eu-south-2"
        )
        assert "make bootstrap" in refused.stderr

    made = operator.run("bootstrap", "--auto-approve")
    skip_without_provider(made.stdout)
    assert made.returncode == 0, made.stderr
    assert "is there already" in operator.succeed("bootstrap")
    operator.configure("[network]\nzones = 4\n")
    refused = operator.run("plan")
    assert refused.stderr.splitlines()[-1].startswith("error: network.zones 4: eu-south-2 has 3 (eu-south-2a, ")
    operator.configure("")
    planned = operator.succeed("plan", "--out", "plan")
    synthesised = json.loads((operator.stack.folder / "cdk.tf.json").read_text())["resource"]
    count = sum(map(len, synthesised.values()))
    assert f"{count} to add, 0 to change, 0 to destroy" in planned
    different = operator.run("drift", "--out", str(operator.folder / "drift.md"))
    assert (different.returncode, different.stderr) == (1, "")
    assert (operator.folder / "drift.md").read_text() == different.stdout
    assert "Nobody has changed what is deployed" in different.stdout
    assert "error: nothing is deployed here" in operator.run("outputs").stderr
    # Before the first deployment there is no registry to push to.
    refused = operator.run("image")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no registry cv2kinesis yet: run `make deploy`" in refused.stderr
    # The bucket of the earlier pipeline is taken over, as docs/migration.md says.
    s3 = boto3.client("s3", operator.region, endpoint_url=aws.url, aws_access_key_id="a", aws_secret_access_key="b")
    bucket = f"processedframes-{ACCOUNT}-{operator.region}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": operator.region})
    operator.stack.run("import", "-input=false", "-no-color", "aws_s3_bucket.frames", bucket)
    assert f"{count - 1} to add, 1 to change, 0 to destroy" in operator.succeed("plan")


def test_errors_are_one_line(checkout: Callable[[str], Checkout], tmp_path: Path) -> None:
    operator = checkout("eu-south-2")
    operator.env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    operator.env |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    for arguments, text in (
        (("plan",), "error: no AWS credentials"),
        (("smoke",), "error: no AWS credentials"),
        (("plan", "--environment", "nope"), "nope.toml: No such file"),
    ):
        done = operator.run(*arguments)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert text in line

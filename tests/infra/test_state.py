"""The remote state is bootstrapped, used and locked."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from local.processes import Aws
from local.resources import client
from tests.infra.conftest import ACCOUNT, Synth, Terraform

REGION = "eu-central-1"
BUCKET = f"cv2kinesis-terraform-state-{ACCOUNT}-{REGION}"
STATE_BUCKET_ADDRESS = "aws_s3_bucket.state"
KEY = "test/terraform.tfstate"


@pytest.mark.thorough
def test_the_state_lies_in_s3_and_is_locked(synth: Synth, terraform: Callable[[str], Terraform], aws: Aws) -> None:
    synth({"suffix": "-t2"}, account=ACCOUNT)
    bootstrap, stack = terraform("state"), terraform("test")
    # As `make bootstrap` does: see test_cli.py.
    s3 = client("s3", aws.url)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    bootstrap.init()
    bootstrap.run("import", "-input=false", "-no-color", STATE_BUCKET_ADDRESS, BUCKET)
    bootstrap.apply()
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())

    stack.init()
    stack.apply("-target=aws_dynamodb_table.leases")
    state = json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    assert "aws_dynamodb_table" in {resource["type"] for resource in state["resources"]}

    # Somebody else holds the lock.
    s3.put_object(
        Bucket=BUCKET, Key=f"{KEY}.tflock", Body=json.dumps({"ID": "other", "Operation": "OperationTypeApply"})
    )
    refused = stack.run("apply", "-auto-approve", "-input=false", "-no-color", check=False)
    assert refused.returncode == 1
    assert "Error acquiring the state lock" in refused.stderr
    s3.delete_object(Bucket=BUCKET, Key=f"{KEY}.tflock")
    # Nor does anybody destroy by the way what holds data.
    refused = stack.run("destroy", "-auto-approve", "-input=false", "-no-color", check=False)
    assert refused.returncode == 1
    assert "prevent_destroy" in refused.stderr


def test_without_the_bucket_terraform_says_so(synth: Synth, terraform: Callable[[str], Terraform]) -> None:
    synth({"region": "eu-west-3"}, account=ACCOUNT)
    done = terraform("test").run("init", "-input=false", "-no-color", check=False)
    assert done.returncode == 1
    assert "cv2kinesis-terraform-state" in done.stderr or "S3 bucket" in done.stderr

"""The bucket that holds the state of all environments, its own included.

`make bootstrap` makes the bucket, bare, and terraform takes it over: it adds what is missing, however often it is run.
"""

from __future__ import annotations

from cdktf import LocalBackend, S3Backend, TerraformOutput, TerraformStack
from cdktf_cdktf_provider_aws.provider import AwsProviderDefaultTags
from constructs import Construct

from stacks.account import aws_provider
from stacks.config import Config
from stacks.outputs import describe
from stacks.protection import protect
from stacks.storage import expire, private_bucket

# How many days an earlier state can be restored.
OLD_VERSIONS_DAYS = 90
# Where terraform has the bucket in its own state.
STATE_BUCKET_ADDRESS = "aws_s3_bucket.state"


def state_bucket_name(account: str, region: str) -> str:
    """The name of the bucket; each account and region has one."""
    return f"cv2kinesis-terraform-state-{account}-{region}"


def state_key(environment: str) -> str:
    """Where an environment's state lies in the bucket."""
    return f"{environment}/terraform.tfstate"


def keep_state(stack: TerraformStack, config: Config, key: str, account: str | None) -> None:
    """Makes a stack keep its state in the bucket, encrypted and locked; without an account, in its own folder."""
    if not account:
        LocalBackend(stack, path="terraform.tfstate")
        return
    bucket = state_bucket_name(account, config.region)
    S3Backend(stack, bucket=bucket, key=key, region=config.region, encrypt=True)
    stack.add_override("terraform.backend.s3.use_lockfile", True)


class StateStack(TerraformStack):
    """A versioned, encrypted, private bucket. Every environment's state lies in it under its own key."""

    def __init__(self, scope: Construct, id_: str, config: Config, account: str) -> None:
        super().__init__(scope, id_)
        aws_provider(self, config, default_tags=[AwsProviderDefaultTags(tags={"project": "cv2kinesis"})])
        keep_state(self, config, "bootstrap/terraform.tfstate", account)
        bucket = private_bucket(self, "state", state_bucket_name(account, config.region), versioning=True)
        protect([bucket], protected=True)
        expire(self, "state", bucket, OLD_VERSIONS_DAYS, current=False)
        TerraformOutput(self, "StateBucketName", value=bucket.bucket, description=describe("StateBucketName"))

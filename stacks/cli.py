"""What operators run: `python -m stacks.cli bootstrap | plan | apply | outputs | destroy`.

Synthesises the environment, then runs terraform in the stack's folder. The Makefile calls it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from stacks.config import Config, ConfigError

ROOT = Path(__file__).parent.parent


class DeployError(Exception):
    """What keeps a command from being carried out; its text is one line with what to do."""


def main() -> int:
    """Terraform's exit status; 2 where it was not even asked."""
    parser = argparse.ArgumentParser(prog="stacks", description="synthesise and apply an environment")
    parser.add_argument("command", choices=("bootstrap", "plan", "apply", "outputs", "destroy"))
    parser.add_argument("--environment", default=os.environ.get("ENVIRONMENT", "dev"), help="default: dev")
    parser.add_argument("--auto-approve", action="store_true", help="apply and destroy without asking")
    args = parser.parse_args()
    try:
        return run(args.command, args.environment, auto_approve=args.auto_approve)
    except (ConfigError, DeployError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(command: str, environment: str, *, auto_approve: bool) -> int:
    """Carries a command out.

    Raises:
        ConfigError: If the environment's file is wrong.
        DeployError: If something that is needed is missing.
    """
    config = Config.read(ROOT / "environments" / f"{environment}.toml")
    for tool, package in (("node", "Node.js 20 or later"), ("terraform", "Terraform 1.10 or later")):
        if not shutil.which(tool):
            raise DeployError(f"{tool} is not on the path: install {package}")
    account = account_id(config.region)
    # Imported late: Node starts with it.
    from stacks.app import synthesise
    from stacks.state import state_bucket_name

    folder = synthesise(config, environment, account, ROOT / "cdktf.out")
    approve = ["-auto-approve"] if auto_approve else []
    if command == "bootstrap":
        return bootstrap(folder.parent / "state", config.region, state_bucket_name(account, config.region), approve)
    if not bucket_exists(state_bucket_name(account, config.region), config.region):
        raise DeployError(f"no bucket for the state in account {account}, {config.region}: run `make bootstrap` once")
    if status := terraform(folder, "init", "-input=false", "-reconfigure"):
        return status
    arguments = {
        "plan": ["plan"],
        "apply": ["apply", *approve],
        "outputs": ["output", "-json"],
        "destroy": ["destroy", *approve],
    }
    return terraform(folder, *arguments[command])


def bootstrap(folder: Path, region: str, bucket: str, approve: list[str]) -> int:
    """Makes the bucket of the state, once for an account and region."""
    if bucket_exists(bucket, region):
        print(f"{bucket} is there already")
        return 0
    return terraform(folder, "init", "-input=false") or terraform(folder, "apply", *approve)


def account_id(region: str) -> str:
    """The account of the credentials in use.

    Raises:
        DeployError: If there are none.
    """
    try:
        return str(_client("sts", region).get_caller_identity()["Account"])
    except (ClientError, BotoCoreError) as error:
        raise DeployError(
            f"no valid AWS credentials ({type(error).__name__}): `aws configure`, or set AWS_PROFILE"
        ) from None


def bucket_exists(bucket: str, region: str) -> bool:
    """Whether there is a bucket that we may use.

    Raises:
        DeployError: If it belongs to somebody else.
    """
    try:
        _client("s3", region).head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket"):
            return False
        raise DeployError(f"bucket {bucket}: {error.response['Error']['Code']}: not ours to use") from None
    return True


def terraform(folder: Path, *arguments: str) -> int:
    """Runs terraform in a stack's folder, on this terminal."""
    return subprocess.run(["terraform", f"-chdir={folder}", *arguments], check=False).returncode  # noqa: S607


def _client(service: str, region: str):  # type: ignore[no-untyped-def]
    return boto3.client(
        service, config=ClientConfig(region_name=region, connect_timeout=5, retries={"total_max_attempts": 2})
    )


if __name__ == "__main__":
    sys.exit(main())

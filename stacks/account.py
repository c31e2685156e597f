"""Where a stack is deployed: its region, and the one account that its environment allows."""

from __future__ import annotations

from typing import Any

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.provider import AwsProvider

from stacks.config import Config


def aws_provider(stack: TerraformStack, config: Config, id_: str = "aws", **arguments: Any) -> AwsProvider:
    """AWS's provider; in another account than the environment's, terraform plans and changes nothing."""
    given = {"region": config.region, **arguments}
    return AwsProvider(stack, id_, allowed_account_ids=[config.account] if config.account else None, **given)

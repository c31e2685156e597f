"""What holds data is destroyed by `make destroy` alone, and by no plan."""

from __future__ import annotations

from collections.abc import Iterable

from cdktf import TerraformResource, TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.dynamodb_table import DynamodbTable
from cdktf_cdktf_provider_aws.ecr_repository import EcrRepository

# What has to be changed before terraform can destroy it: their own protection, and the stream's consumers.
GUARDED = ("aws_dynamodb_table.leases", "aws_ecr_repository.repository", "aws_kinesis_stream.stream")


def protect(resources: Iterable[TerraformResource], *, protected: bool) -> None:
    """Protects resources: terraform refuses a plan that would destroy them, and so does the service, where it can.

    Args:
        protected: False takes the protection off.
    """
    for resource in resources:
        resource.lifecycle = TerraformResourceLifecycle(prevent_destroy=protected)
        if isinstance(resource, DynamodbTable):
            resource.deletion_protection_enabled = protected
        if isinstance(resource, EcrRepository):
            resource.force_delete = not protected

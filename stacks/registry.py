"""The registry of the worker's image."""

from __future__ import annotations

from cdktf import Fn, TerraformStack
from cdktf_cdktf_provider_aws.ecr_lifecycle_policy import EcrLifecyclePolicy
from cdktf_cdktf_provider_aws.ecr_repository import (
    EcrRepository,
    EcrRepositoryEncryptionConfiguration,
    EcrRepositoryImageScanningConfiguration,
)

from stacks.config import Config
from stacks.names import Names

KEPT_IMAGES = 10


class Registry:
    """A repository of images whose tags never move; AWS scans images when they are pushed."""

    def __init__(self, stack: TerraformStack, config: Config, key: str | None) -> None:
        self.repository = EcrRepository(
            stack,
            "repository",
            name=Names(config).stream,
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=EcrRepositoryImageScanningConfiguration(scan_on_push=True),
            # A registry keeps the key that it was made with: another one would replace it.
            encryption_configuration=[
                EcrRepositoryEncryptionConfiguration(encryption_type="KMS" if key else "AES256", kms_key=key)
            ],
        )
        rule = {
            "rulePriority": 1,
            "description": f"keep the last {KEPT_IMAGES} images",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEPT_IMAGES},
            "action": {"type": "expire"},
        }
        EcrLifecyclePolicy(
            stack, "repository-lifecycle", repository=self.repository.name, policy=Fn.jsonencode({"rules": [rule]})
        )

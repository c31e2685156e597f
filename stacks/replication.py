"""A copy of the frames in another region."""

from __future__ import annotations

from typing import cast

from cdktf import ITerraformDependable, TerraformStack
from cdktf_cdktf_provider_aws.provider import AwsProviderDefaultTags
from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket
from cdktf_cdktf_provider_aws.s3_bucket_replication_configuration import (
    S3BucketReplicationConfigurationA,
    S3BucketReplicationConfigurationRule,
    S3BucketReplicationConfigurationRuleDeleteMarkerReplication,
    S3BucketReplicationConfigurationRuleDestination,
    S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration,
    S3BucketReplicationConfigurationRuleFilter,
    S3BucketReplicationConfigurationRuleSourceSelectionCriteria,
    S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects,
)

from stacks.account import aws_provider
from stacks.config import Config
from stacks.iam import role
from stacks.keys import Keys, use
from stacks.names import Names
from stacks.policies import allow
from stacks.storage import expire, private_bucket


def replicate(
    stack: TerraformStack, config: Config, account: str, source: S3Bucket, tags: AwsProviderDefaultTags, keys: Keys
) -> None:
    """Copies every new object to a bucket of the same kind in the configured region."""
    storage, region = config.storage, config.storage.replica_region
    provider = aws_provider(stack, config, "aws-replica", alias="replica", region=region, default_tags=[tags])
    name = Names(config).bucket(account, region)
    key = keys.of_replica(provider)
    copy = private_bucket(stack, "replica", name, versioning=True, key=key, provider=provider)
    expire(stack, "replica", copy, storage.expiry_days, provider=provider)
    reads = ("GetReplicationConfiguration", "ListBucket")
    versions = ("GetObjectVersionForReplication", "GetObjectVersionAcl", "GetObjectVersionTagging")
    copies = ("ReplicateObject", "ReplicateDelete", "ReplicateTags")
    statements = [
        allow("ReadConfiguration", [f"s3:{action}" for action in reads], [source.arn]),
        allow("ReadVersions", [f"s3:{action}" for action in versions], [f"{source.arn}/*"]),
        allow("Copy", [f"s3:{action}" for action in copies], [f"{copy.arn}/*"]),
    ]
    if keys.arn and key:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html
        statements += [
            use("ReadKey", keys.arn, config.region, ["s3"], ["Decrypt"]),
            use("CopyKey", key, region, ["s3"], ["Encrypt"]),
        ]
    encrypted = S3BucketReplicationConfigurationRuleSourceSelectionCriteriaSseKmsEncryptedObjects(status="Enabled")
    S3BucketReplicationConfigurationA(
        stack,
        "frames-replication",
        bucket=source.id,
        role=role(stack, config, "replication", account, statements, service="s3.amazonaws.com").arn,
        rule=[
            S3BucketReplicationConfigurationRule(
                id="all",
                status="Enabled",
                priority=1,
                filter=S3BucketReplicationConfigurationRuleFilter(prefix=""),
                delete_marker_replication=S3BucketReplicationConfigurationRuleDeleteMarkerReplication(status="Enabled"),
                # S3 copies what a KMS key encrypts only when it is told to, and with which key.
                source_selection_criteria=S3BucketReplicationConfigurationRuleSourceSelectionCriteria(
                    sse_kms_encrypted_objects=encrypted
                )
                if key
                else None,
                destination=S3BucketReplicationConfigurationRuleDestination(
                    bucket=copy.arn,
                    encryption_configuration=S3BucketReplicationConfigurationRuleDestinationEncryptionConfiguration(
                        replica_kms_key_id=key
                    )
                    if key
                    else None,
                ),
            )
        ],
        # S3 refuses it while one of the buckets has no versions.
        depends_on=[
            cast(ITerraformDependable, stack.node.find_child(f"{bucket}-versioning"))
            for bucket in ("frames", "replica")
        ],
    )

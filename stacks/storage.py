"""Where outcomes go: the bucket of frames and events, the queues of results, events and quarantine."""

from __future__ import annotations

from typing import get_args

from cdktf import TerraformProvider, TerraformStack
from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket
from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleFilterTag,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
)
from cdktf_cdktf_provider_aws.s3_bucket_policy import S3BucketPolicy
from cdktf_cdktf_provider_aws.s3_bucket_public_access_block import S3BucketPublicAccessBlock
from cdktf_cdktf_provider_aws.s3_bucket_server_side_encryption_configuration import (
    S3BucketServerSideEncryptionConfigurationA,
    S3BucketServerSideEncryptionConfigurationRuleA,
    S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA,
)
from cdktf_cdktf_provider_aws.s3_bucket_versioning import (
    S3BucketVersioningA,
    S3BucketVersioningVersioningConfiguration,
)
from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue

from contract.source_settings import KEEP_DAYS_TAG, KeepDays
from stacks import queue
from stacks.config import Config
from stacks.names import Names
from stacks.policies import deny_insecure


def private_bucket(
    stack: TerraformStack,
    id_: str,
    name: str,
    *,
    versioning: bool,
    key: str | None = None,
    provider: TerraformProvider | None = None,
) -> S3Bucket:
    """A bucket that is encrypted, closed to the public and reachable over TLS only.

    Args:
        key: The ARN of the KMS key; None for a key of S3's.
        provider: The provider of another region.
    """
    bucket = S3Bucket(stack, id_, bucket=name, provider=provider)
    encryption = S3BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultA(
        sse_algorithm="aws:kms" if key else "AES256", kms_master_key_id=key
    )
    S3BucketServerSideEncryptionConfigurationA(
        stack,
        f"{id_}-encryption",
        bucket=bucket.id,
        provider=provider,
        rule=[
            S3BucketServerSideEncryptionConfigurationRuleA(
                apply_server_side_encryption_by_default=encryption,
                bucket_key_enabled=True if key else None,  # else each object is a request to KMS, and is paid for
            )
        ],
    )
    block = S3BucketPublicAccessBlock(
        stack,
        f"{id_}-public-access",
        bucket=bucket.id,
        provider=provider,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
    )
    document = deny_insecure(stack, f"{id_}-tls", "s3:*", [bucket.arn, f"{bucket.arn}/*"])
    S3BucketPolicy(
        stack, f"{id_}-policy", bucket=bucket.id, policy=document.json, depends_on=[block], provider=provider
    )
    if versioning:
        S3BucketVersioningA(
            stack,
            f"{id_}-versioning",
            bucket=bucket.id,
            provider=provider,
            versioning_configuration=S3BucketVersioningVersioningConfiguration(status="Enabled"),
        )
    return bucket


def expire(
    stack: TerraformStack,
    id_: str,
    bucket: S3Bucket,
    days: int,
    *,
    current: bool = True,
    provider: TerraformProvider | None = None,
) -> None:
    """Deletes objects (if `current`), old versions and unfinished uploads after some days.

    What carries the tag of a shorter time goes earlier: of two rules, S3 obeys the one that deletes sooner.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-conflicts.html
    """
    whole = S3BucketLifecycleConfigurationRule(
        id="expire",
        status="Enabled",
        filter=[S3BucketLifecycleConfigurationRuleFilter(prefix="")],
        expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=days)] if current else None,
        noncurrent_version_expiration=[
            S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(noncurrent_days=days)
        ],
        abort_incomplete_multipart_upload=[
            S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=1)
        ],
    )
    tagged = [
        S3BucketLifecycleConfigurationRule(
            id=f"{KEEP_DAYS_TAG}-{kept}",
            status="Enabled",
            filter=[
                S3BucketLifecycleConfigurationRuleFilter(
                    tag=[S3BucketLifecycleConfigurationRuleFilterTag(key=KEEP_DAYS_TAG, value=str(kept))]
                )
            ],
            expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=kept)],
        )
        for kept in (get_args(KeepDays) if current else ())
        if kept < days
    ]
    S3BucketLifecycleConfiguration(
        stack, f"{id_}-lifecycle", bucket=bucket.id, provider=provider, rule=[whole, *tagged]
    )


class Storage:
    """Frames in S3; results, events and notices of quarantine in SQS."""

    def __init__(self, stack: TerraformStack, config: Config, account: str, key: str | None) -> None:
        storage, names = config.storage, Names(config)
        name = names.bucket(account)
        self.bucket = private_bucket(stack, "frames", name, versioning=storage.versioning, key=key)
        expire(stack, "frames", self.bucket, storage.expiry_days)

        def made(id_: str, name: str, dead_letters: SqsQueue | None = None) -> SqsQueue:
            made = queue.make(stack, id_, name, key, dead_letters=dead_letters, max_receives=storage.max_receives)
            queue.close(stack, id_, made)
            return made

        self.dead_letters = made("dead-letters", names.dead_letters)
        self.results = made("results", names.results, self.dead_letters)
        self.events_dead_letters = made("events-dead-letters", names.events_dead_letters)
        self.events = made("events", names.events, self.events_dead_letters)
        self.quarantine = made("quarantine", names.quarantine)

    @property
    def queues(self) -> tuple[SqsQueue, ...]:
        return self.results, self.dead_letters, self.events, self.events_dead_letters, self.quarantine

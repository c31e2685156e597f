"""Where outcomes go: the bucket of frames, the queues of results and quarantine."""

from __future__ import annotations

from cdktf import Fn, TerraformProvider, TerraformStack
from cdktf_cdktf_provider_aws.s3_bucket import S3Bucket
from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
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
from cdktf_cdktf_provider_aws.sqs_queue_policy import SqsQueuePolicy

from stacks.config import Config
from stacks.names import Names
from stacks.policies import deny_insecure

DAY_SECONDS = 24 * 3600
QUEUE_RETENTION_SECONDS = 14 * DAY_SECONDS


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
    """Deletes objects (if `current`), old versions and unfinished uploads after some days."""
    S3BucketLifecycleConfiguration(
        stack,
        f"{id_}-lifecycle",
        bucket=bucket.id,
        provider=provider,
        rule=[
            S3BucketLifecycleConfigurationRule(
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
        ],
    )


class Storage:
    """Frames in S3; results and notices of quarantine in SQS."""

    def __init__(self, stack: TerraformStack, config: Config, account: str, key: str | None) -> None:
        storage, self._key = config.storage, key
        name = Names(config).bucket(account)
        self.bucket = private_bucket(stack, "frames", name, versioning=storage.versioning, key=key)
        expire(stack, "frames", self.bucket, storage.expiry_days)
        self.dead_letters = self._queue(stack, "dead-letters", Names(config).dead_letters)
        self.results = self._queue(
            stack,
            "results",
            Names(config).results,
            redrive_policy=Fn.jsonencode(
                {"deadLetterTargetArn": self.dead_letters.arn, "maxReceiveCount": storage.max_receives}
            ),
        )
        self.quarantine = self._queue(stack, "quarantine", Names(config).quarantine)

    def _queue(self, stack: TerraformStack, id_: str, name: str, redrive_policy: str | None = None) -> SqsQueue:
        queue = SqsQueue(
            stack,
            id_,
            name=name,
            visibility_timeout_seconds=300,
            message_retention_seconds=QUEUE_RETENTION_SECONDS,
            receive_wait_time_seconds=20,
            sqs_managed_sse_enabled=None if self._key else True,
            kms_master_key_id=self._key,
            redrive_policy=redrive_policy,
        )
        document = deny_insecure(stack, f"{id_}-tls", "sqs:*", [queue.arn])
        SqsQueuePolicy(stack, f"{id_}-policy", queue_url=queue.url, policy=document.json)
        return queue

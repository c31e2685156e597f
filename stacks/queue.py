"""The form of all queues: encrypted, kept for two weeks, and reached over TLS only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdktf import Fn, TerraformStack
from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue
from cdktf_cdktf_provider_aws.sqs_queue_policy import SqsQueuePolicy

from stacks.policies import Statement, deny_insecure

QUEUE_RETENTION_SECONDS: Final = 14 * 24 * 3600


def make(
    stack: TerraformStack,
    id_: str,
    name: str,
    key: str | None,
    *,
    dead_letters: SqsQueue | None = None,
    max_receives: int = 0,
) -> SqsQueue:
    """A queue without a policy.

    Args:
        key: The ARN of the KMS key; None for a key of SQS's.
        dead_letters: Where messages go that were received so often as `max_receives`.
    """
    return SqsQueue(
        stack,
        id_,
        name=name,
        visibility_timeout_seconds=300,
        message_retention_seconds=QUEUE_RETENTION_SECONDS,
        receive_wait_time_seconds=20,
        sqs_managed_sse_enabled=None if key else True,
        kms_master_key_id=key,
        redrive_policy=Fn.jsonencode({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": max_receives})
        if dead_letters
        else None,
    )


def close(stack: TerraformStack, id_: str, queue: SqsQueue, statements: Sequence[Statement] = ()) -> SqsQueuePolicy:
    """Denies what does not come over TLS; the statements allow what IAM's policies cannot."""
    document = deny_insecure(stack, f"{id_}-tls", "sqs:*", [queue.arn], statements)
    return SqsQueuePolicy(stack, f"{id_}-policy", queue_url=queue.url, policy=document.json)

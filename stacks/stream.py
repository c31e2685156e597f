"""The Kinesis Data Stream."""

from __future__ import annotations

from cdktf import TerraformStack
from cdktf_cdktf_provider_aws.kinesis_stream import KinesisStream, KinesisStreamStreamModeDetails

from stacks.config import Config
from stacks.names import Names


class Stream:
    """The stream that cameras write and workers read.

    Args:
        key: The ARN of the KMS key that encrypts it; None for the service's own.
    """

    def __init__(self, stack: TerraformStack, config: Config, key: str | None) -> None:
        stream = config.stream
        self.resource = KinesisStream(
            stack,
            "stream",
            name=Names(config).stream,
            shard_count=stream.shards if stream.mode == "PROVISIONED" else None,
            stream_mode_details=KinesisStreamStreamModeDetails(stream_mode=stream.mode),
            retention_period=stream.retention_hours,
            encryption_type="KMS",
            kms_key_id=key or "alias/aws/kinesis",
            enforce_consumer_deletion=True,  # KCL registers one for fan-out, and Kinesis deletes no stream that has any
        )
        self.name = self.resource.name

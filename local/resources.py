"""What the pipeline needs on the embedded AWS when no Terraform has made it: for the demo and tests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import boto3

REGION = "eu-central-1"


@dataclass(frozen=True, slots=True)
class Resources:
    """A stream, a bucket and queues, and how to reach them."""

    endpoint_url: str
    stream: str
    bucket: str
    queue_url: str
    quarantine_url: str

    @classmethod
    def create(cls, endpoint_url: str, name: str = "cv2kinesis", shards: int = 1) -> Resources:
        """Makes them under names derived from one."""
        client("kinesis", endpoint_url).create_stream(StreamName=name, ShardCount=shards)
        bucket = f"processedframes-{name}"
        client("s3", endpoint_url).create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        sqs = client("sqs", endpoint_url)
        results = sqs.create_queue(QueueName=f"{name}-results")["QueueUrl"]
        quarantine = sqs.create_queue(QueueName=f"{name}-quarantine")["QueueUrl"]
        return cls(endpoint_url, name, bucket, results, quarantine)

    def client(self, service: str) -> Any:
        """A client of the embedded AWS."""
        return client(service, self.endpoint_url)

    def environment(self) -> dict[str, str]:
        """The environment of the worker and of the CLIs."""
        return aws_environment(self.endpoint_url) | {
            "KINESIS_STREAM_NAME": self.stream,
            "S3_BUCKET_NAME": self.bucket,
            "SQS_QUEUE_URL": self.queue_url,
            "QUARANTINE_QUEUE_URL": self.quarantine_url,
            "KCL_APPLICATION_NAME": self.stream,
            "SOURCES_PATH": self.sources_path,
        }

    @property
    def sources_path(self) -> str:
        """Where settings of single sources are, in Parameter Store."""
        return f"/{self.stream}/sources"

    def configure(self, source: str, settings: str) -> None:
        """Puts a source's settings, as JSON."""
        name = f"{self.sources_path}/{source}"
        self.client("ssm").put_parameter(Name=name, Value=settings, Type="String", Overwrite=True)


def client(service: str, endpoint_url: str, key: str = "local") -> Any:
    """A client with credentials that the embedded AWS takes from anyone."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key="local",  # noqa: S106
    )


def aws_environment(endpoint_url: str) -> dict[str, str]:
    """This process's environment, turned to the embedded AWS and away from any real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

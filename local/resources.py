"""The pipeline's resources on the embedded AWS without Terraform, for the demo and the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local.services import KEY, REGION, Services

__all__ = ["REGION", "Resources", "aws_environment", "client"]


@dataclass(frozen=True, slots=True)
class Resources:
    """A stream, a bucket and queues, and where they are."""

    services: Services
    stream: str
    bucket: str
    queue_url: str
    quarantine_url: str
    events_url: str

    @classmethod
    def create(cls, services: str | Services, name: str = "cv2kinesis", shards: int = 1) -> Resources:
        """Makes the resources under names that derive from one name.

        Args:
            services: Where; the address of the embedded AWS will do.
        """
        services = Services.of(services)
        kinesis = services.client("kinesis")
        kinesis.create_stream(StreamName=name, ShardCount=shards)
        bucket = f"processedframes-{name}"
        services.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        sqs = services.client("sqs")
        results = sqs.create_queue(QueueName=f"{name}-results")["QueueUrl"]
        quarantine = sqs.create_queue(QueueName=f"{name}-quarantine")["QueueUrl"]
        events = sqs.create_queue(QueueName=f"{name}-events")["QueueUrl"]
        kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
        return cls(services, name, bucket, results, quarantine, events)

    def client(self, service: str, key: str = KEY) -> Any:
        """Makes a client of a service."""
        return self.services.client(service, key)

    def environment(self) -> dict[str, str]:
        """The environment variables for the worker and the CLIs."""
        return self.services.environment() | {
            "KINESIS_STREAM_NAME": self.stream,
            "S3_BUCKET_NAME": self.bucket,
            "SQS_QUEUE_URL": self.queue_url,
            "QUARANTINE_QUEUE_URL": self.quarantine_url,
            "EVENTS_QUEUE_URL": self.events_url,
            "KCL_APPLICATION_NAME": self.stream,
            "SOURCES_PATH": self.sources_path,
        }

    @property
    def sources_path(self) -> str:
        """The path of single sources' settings in Parameter Store."""
        return f"/{self.stream}/sources"

    def configure(self, source: str, settings: str) -> None:
        """Stores a source's settings as JSON."""
        name = f"{self.sources_path}/{source}"
        self.client("ssm").put_parameter(Name=name, Value=settings, Type="String", Overwrite=True)


def client(service: str, endpoint_url: str, key: str = KEY) -> Any:
    """Makes a client with dummy credentials, which the embedded AWS accepts."""
    return Services(endpoint_url).client(service, key)


def aws_environment(endpoint_url: str) -> dict[str, str]:
    """This process's environment variables, changed to use the embedded AWS and no real account."""
    return Services(endpoint_url).environment()

"""Where the pipeline is: names from the environment, as worker and CLIs have them, and clients for its services."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from doctor.finding import Finding

Result = TypeVar("Result")

_DENIED: Final = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403")
_CREDENTIALS: Final = (
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException",
    "SignatureDoesNotMatch", "InvalidSignatureException",
)  # fmt: skip


class HopError(Exception):
    """A hop that cannot be passed.

    Attributes:
        finding: What is wrong, and what to do.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.says)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Place:
    """The pipeline's names. What is empty is not known."""

    stream: str
    bucket: str
    queue: str
    quarantine: str
    application: str
    region: str
    cluster: str = ""
    service: str = ""

    @classmethod
    def from_environment(cls) -> Place:
        """Reads the variables of worker and CLIs."""

        def value(*names: str) -> str:
            return next((os.environ[name] for name in names if os.environ.get(name)), "")

        stream = value("KINESIS_STREAM_NAME")
        return cls(
            stream=stream,
            bucket=value("S3_BUCKET_NAME"),
            queue=value("SQS_QUEUE_URL"),
            quarantine=value("QUARANTINE_QUEUE_URL"),
            # The stack names the application after its stream.
            application=value("KCL_APPLICATION_NAME") or stream,
            region=value("AWS_REGION", "AWS_DEFAULT_REGION") or "eu-central-1",
            cluster=value("ECS_CLUSTER_NAME"),
            service=value("ECS_SERVICE_NAME"),
        )

    def client(self, service: str) -> Any:
        """A client that tries twice and gives up soon."""
        config = Config(region_name=self.region, retries={"total_max_attempts": 2}, connect_timeout=4, read_timeout=15)
        return boto3.client(service, config=config)


def ask(hop: str, what: str, work: Callable[[], Result], missing: str, advice: str = "") -> Result:
    """Makes a call for a hop.

    Args:
        what: Such as `kinesis:DescribeStreamSummary`, the permission that it needs.
        missing: What to say where the thing is not there.
        advice: What to do then.

    Raises:
        HopError: In plain words.
    """
    try:
        return work()
    except (NoCredentialsError, PartialCredentialsError):
        raise HopError(
            Finding(hop, "wrong", "no AWS credentials are found", "`aws configure`, or set AWS_PROFILE")
        ) from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "Unknown"))
        if code in _DENIED:
            finding = Finding(hop, "wrong", f"these credentials may not call {what}", "use the operator's credentials")
        elif code in _CREDENTIALS:
            finding = Finding(hop, "wrong", f"the credentials are not valid: {code}", "log in again")
        elif "NotFound" in code or "NonExistent" in code or code.startswith("NoSuch") or code == "404":
            finding = Finding(hop, "wrong", missing, advice)
        else:
            finding = Finding(hop, "wrong", f"{what} fails: {code}", "try again; https://health.aws.amazon.com")
        raise HopError(finding) from None
    except BotoCoreError as error:
        text = str(error).splitlines()[0]
        raise HopError(
            Finding(
                hop,
                "wrong",
                f"{what} does not get through: {text}",
                "look at the network, AWS_REGION, AWS_ENDPOINT_URL",
            )
        ) from None

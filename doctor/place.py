"""Where the pipeline is: names from the environment variables of worker and CLIs, and clients for its services."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from cloud.clients import client
from cloud.errors import ERRORS, STRANGE, Kind, classify, code_of, lack_of_credentials, line
from cloud.unusable import UnusableSettingsError
from doctor.finding import Finding

Result = TypeVar("Result")


class HopError(Exception):
    """A hop that a frame cannot pass.

    Attributes:
        finding: What is wrong and what to do.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.says)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Place:
    """The pipeline's names. An empty name is not known."""

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
        """Reads the environment variables of worker and CLIs."""

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
        """Makes a client that tries twice and gives up soon.

        Raises:
            HopError: If the SDK's settings allow none.
        """
        try:
            return client(service, self.region, attempts=2)
        except UnusableSettingsError as error:
            advice = "look at AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL"
            raise HopError(Finding("credentials", "wrong", str(error), advice)) from None


def named(hop: str, value: str, variable: str) -> None:
    """Raises a `HopError` if a name that a hop needs is not known."""
    if not value:
        raise HopError(Finding(hop, "wrong", f"{variable} is not set", "--from-outputs outputs.json sets all of them"))


def ask(hop: str, what: str, work: Callable[[], Result], missing: str, advice: str = "") -> Result:
    """Makes a call for a hop.

    Args:
        what: The permission that the call needs, such as `kinesis:DescribeStreamSummary`.
        missing: What to say if the resource does not exist.
        advice: What to do in that case.

    Raises:
        HopError: With the error in plain words.
    """
    try:
        return work()
    except ERRORS as error:
        says, do = _explain(error, what, missing, advice)
        # A busy service says nothing of the pipeline.
        busy = isinstance(error, ClientError) and classify(error) is Kind.PASSING
        raise HopError(Finding(hop, "unsure" if busy else "wrong", says, do)) from None
    except STRANGE as error:
        says = f"{what}: what answers there is not AWS: {type(error).__name__}"
        raise HopError(Finding(hop, "wrong", says, "look at AWS_ENDPOINT_URL")) from None


def _explain(error: Exception, what: str, missing: str, advice: str) -> tuple[str, str]:
    """What is wrong and what to do."""
    if lack := lack_of_credentials(error):
        return lack, "`aws configure`, or set AWS_PROFILE"
    match classify(error):
        case Kind.CREDENTIALS | Kind.EXPIRED:
            return f"the credentials are not valid: {code_of(error)}", "log in again"
        case Kind.FORBIDDEN:
            return f"these credentials may not call {what}", "use the operator's credentials"
        case Kind.MISSING:
            return missing, advice
    if isinstance(error, ClientError):
        return f"{what} fails: {code_of(error)}", "try again; https://health.aws.amazon.com"
    return f"{what} does not get through: {line(error)}", "look at the network, AWS_REGION, AWS_ENDPOINT_URL"

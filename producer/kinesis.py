"""Calls to Kinesis, and what their errors mean to whoever runs the producer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from producer.errors import AccessError, ProducerError, StreamError, UnreachableError

Result = TypeVar("Result")

_DENIED: Final = frozenset({
    "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
    "ExpiredTokenException", "IncompleteSignature", "MissingAuthenticationTokenException",
})  # fmt: skip


def client(endpoint_url: str | None, region: str | None) -> Any:
    """A client that tries once; retries are the sender's, entry by entry.

    Raises:
        ProducerError: Without a region.
    """
    config = Config(
        region_name=region,
        retries={"total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=20,
        tcp_keepalive=True,
    )
    try:
        return boto3.client("kinesis", endpoint_url=endpoint_url, config=config)
    except NoRegionError:
        raise ProducerError("no region: set AWS_REGION, or name one") from None


def record_limit(kinesis: Any, stream: str) -> int:
    """Bytes of one record: 1 MiB, unless the stream allows more."""
    described = call(stream, lambda: kinesis.describe_stream_summary(StreamName=stream))
    return int(described["StreamDescriptionSummary"].get("MaxRecordSizeInKiB") or 1024) * 1024


def call(stream: str, work: Callable[[], Result]) -> Result:
    """Makes a call of which a failure ends the producer.

    Raises:
        ProducerError: One line that says what is wrong.
    """
    try:
        return work()
    except (ClientError, BotoCoreError) as error:
        raise explain(error, stream) from None


def explain(error: Exception, stream: str) -> ProducerError:
    """Makes one line of an SDK's error."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "Unknown")
        message = str(error.response.get("Error", {}).get("Message", "")).splitlines()
        if code == "ResourceNotFoundException":
            return StreamError(f"stream {stream}: no such stream in this account and region")
        if code in _DENIED:
            return AccessError(f"stream {stream}: {code}: {message[0] if message else 'not allowed'}")
        return ProducerError(f"stream {stream}: {code}: {message[0] if message else ''}")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AccessError("no AWS credentials found: `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID")
    if isinstance(error, EndpointConnectionError):
        return UnreachableError(f"stream {stream}: {error}")
    return UnreachableError(f"stream {stream}: {type(error).__name__}: {str(error).splitlines()[0]}")


def is_final(error: Exception) -> bool:
    """Whether trying again cannot help."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return True
    return isinstance(error, ClientError) and (
        error.response.get("Error", {}).get("Code") in {"ResourceNotFoundException", "ValidationException"} | _DENIED
    )

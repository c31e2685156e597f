"""Calls to Kinesis, and their errors in words for the user."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError, EndpointConnectionError

from cloud.clients import client
from cloud.errors import ERRORS, Kind, classify, describe, lack_of_credentials
from cloud.retry import full_jitter
from cloud.unusable import UnusableSettingsError
from producer.errors import AccessError, ProducerError, SettingsError, StreamError, UnreachableError

Result = TypeVar("Result")

# For so long a service that answers with errors of its own, or throttles, is asked again before the first frame.
PATIENCE_SECONDS: Final = 10.0
BACKOFF_BASE_SECONDS: Final = 0.2
BACKOFF_CAP_SECONDS: Final = 3.0


def connect(endpoint_url: str | None, region: str | None) -> Any:
    """Makes a client that tries once: the sender retries single entries.

    Raises:
        SettingsError, AccessError: If the SDK's settings allow none.
    """
    try:
        return client("kinesis", region, endpoint_url=endpoint_url)
    except UnusableSettingsError as error:
        raise (AccessError if error.credentials else SettingsError)(str(error)) from None


def record_limit(kinesis: Any, stream: str) -> int:
    """The greatest size of a record in bytes: 1 MiB, unless the stream allows more."""
    described = call(stream, lambda: kinesis.describe_stream_summary(StreamName=stream))
    return int(described["StreamDescriptionSummary"].get("MaxRecordSizeInKiB") or 1024) * 1024


def call(stream: str, work: Callable[[], Result]) -> Result:
    """Makes a call whose failure ends the producer; what may soon be answered otherwise is asked again for a while.

    Raises:
        ProducerError: One line that says what is wrong.
    """
    until, attempt = time.monotonic() + PATIENCE_SECONDS, 0
    while True:
        attempt += 1
        try:
            return work()
        except ERRORS as error:
            wait = full_jitter(attempt, BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS)
            answered = isinstance(error, ClientError) and classify(error) is Kind.PASSING
            if not answered or time.monotonic() + wait > until:
                raise explain(error, stream) from None
            time.sleep(wait)


def explain(error: Exception, stream: str) -> ProducerError:
    """Turns an error of the SDK into one with a text of one line."""
    kind, text = classify(error), f"stream {stream}: {describe(error)}"
    if lack := lack_of_credentials(error):
        return AccessError(f"{lack}: `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID")
    if kind is Kind.MISSING:
        return StreamError(f"stream {stream}: no such stream in this account and region")
    if kind is Kind.EXPIRED:
        return AccessError(f"{text}; log in again, or set this machine's clock")
    if kind in (Kind.FORBIDDEN, Kind.CREDENTIALS):
        return AccessError(text)
    if isinstance(error, EndpointConnectionError):
        return UnreachableError(f"stream {stream}: {error}")
    return UnreachableError(text) if kind is Kind.PASSING else ProducerError(text)

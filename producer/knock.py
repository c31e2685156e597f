"""Tells a pipeline that sleeps that frames come.

The stream's own metrics say it too, but by the minute and a minute late. A metric of the producer's own is there within
seconds, and the stack's alarm `knock` reads it every ten. It is written once for a producer, and again after a pause in
which the pipeline may have fallen asleep.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Self
from urllib.parse import urlsplit

from cloud.clients import client
from cloud.errors import ERRORS, describe
from cloud.unusable import UnusableSettingsError
from contract.metrics import PRODUCERS, STARTED

# The pipeline sleeps after fifteen minutes without frames.
PAUSE_SECONDS: Final = 300.0
# A producer that ends waits so long for the answer.
LEAVE_SECONDS: Final = 1.0
FAILURE: Final = "a pipeline that sleeps wakes a minute later, as CloudWatch was not told"
AWS_DOMAINS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


class Knock:
    """Writes the metric in a thread of its own; whatever becomes of it stops no frame.

    Args:
        kinesis: The client that sends. CloudWatch is told where it is on the same AWS.
        tell: Called with a line if the metric could not be written.
    """

    def __init__(self, kinesis: Any, stream: str, tell: Callable[[str], None]) -> None:
        self._stream, self._tell = stream, tell
        self._cloudwatch: Any = None
        try:
            cloudwatch = client("cloudwatch", kinesis.meta.region_name)
        except UnusableSettingsError as error:
            tell(f"{FAILURE}: {error}")
        else:
            if _same_aws(kinesis.meta.endpoint_url, cloudwatch.meta.endpoint_url):
                self._cloudwatch = cloudwatch
        self._last = -math.inf
        self._thread: threading.Thread | None = None

    def flowing(self) -> None:
        """The stream has taken frames."""
        now = time.monotonic()
        if self._cloudwatch and now - self._last >= PAUSE_SECONDS:
            self._thread = threading.Thread(target=self._write, name="knock", daemon=True)
            self._thread.start()
        self._last = now

    def _write(self) -> None:
        metric = {
            "MetricName": STARTED,
            "Dimensions": [{"Name": "StreamName", "Value": self._stream}],
            "Value": 1,
            "Unit": "Count",
            "StorageResolution": 1,
        }
        try:
            self._cloudwatch.put_metric_data(Namespace=PRODUCERS, MetricData=[metric])
        except ERRORS as error:
            self._tell(f"{FAILURE}: {describe(error)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._thread.join(LEAVE_SECONDS)


def _same_aws(kinesis_url: str, cloudwatch_url: str) -> bool:
    """Whether two addresses are both AWS's, or both of one emulator."""
    kinesis, cloudwatch = (urlsplit(url).hostname or "" for url in (kinesis_url, cloudwatch_url))
    return kinesis == cloudwatch or (kinesis.endswith(AWS_DOMAINS) and cloudwatch.endswith(AWS_DOMAINS))

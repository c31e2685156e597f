"""Calls to AWS: clients, and retries that wait out what passes and end the worker on what does not."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header

from kcl_worker.errors import ServiceError
from kcl_worker.version import VERSION

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

BACKOFF_BASE_SECONDS: Final = 0.1
BACKOFF_CAP_SECONDS: Final = 20.0
# Connections, and so calls in flight, of one worker.
CALLS_IN_FLIGHT: Final = 16

# No retry helps against these; an operator must.
PERMANENT: Final = frozenset({
    "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "InvalidAccessKeyId",
    "KMS.AccessDeniedException", "KmsAccessDenied", "KmsDisabled", "KmsNotFound",
    "NoSuchBucket", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue",
    "ResourceNotFoundException", "SignatureDoesNotMatch", "UnrecognizedClientException",
})  # fmt: skip


def client(service: str, region: str) -> Any:
    """A client that tries once: retries are ours, so that attempts can be counted and waits seen.

    Its endpoint follows the SDK's own variables, such as `AWS_ENDPOINT_URL`.
    """
    config = Config(
        region_name=region,
        connect_timeout=3,
        read_timeout=15,
        retries={"total_max_attempts": 1},
        max_pool_connections=CALLS_IN_FLIGHT,
        tcp_keepalive=True,
        # Tells us apart in CloudTrail and access logs; the SDK would put its own together anew for each call, of thirty
        # parts, which is a tenth of what a call costs.
        user_agent=f"cv2kinesis/{VERSION} boto3/{boto3.__version__}",
    )
    made = boto3.client(service, config=config)
    if service == "s3":
        # `Expect: 100-continue` is a round trip before each frame, to spare a body that is small and rarely refused.
        made.meta.events.unregister("before-call.s3", add_expect_header)
    return made


class Caller:
    """Makes blocking calls in threads and repeats them for as long as their service fails."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(CALLS_IN_FLIGHT, thread_name_prefix="aws")

    async def __call__(self, what: str, call: Callable[[], Result]) -> Result:
        """Waits for the call to succeed.

        Args:
            what: Names the call in the log, as in `s3 put s3://bucket/key`.

        Raises:
            ServiceError: If no retry can help.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                return await loop.run_in_executor(self._threads, call)
            except (ClientError, BotoCoreError) as error:
                code = error_code(error)
                if code in PERMANENT:
                    raise ServiceError(f"{what}: {code}: {error}") from None
                attempt += 1
                logger.warning("%s failed, attempt %d: %s", what, attempt, code)
                await back_off(attempt)


async def back_off(attempt: int) -> None:
    """Sleeps with full jitter: up to 0.1 s after the first attempt, doubling to 20 s."""
    await asyncio.sleep(random.uniform(0, min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2**attempt)))  # noqa: S311


def error_code(error: Exception) -> str:
    """The service's name for an error, or the exception's own."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__

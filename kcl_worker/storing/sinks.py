"""Where outcomes go: frames to S3, messages to SQS."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from cloud.errors import Kind, classify, code_of
from contract.frame import format_time
from contract.identity import CAPTURED_AT
from contract.message import LONGEST_SHORT_BYTES
from contract.source_settings import KEEP_DAYS_TAG
from kcl_worker.errors import ServiceError, SettingsError
from kcl_worker.storing.caller import Caller, back_off

logger = logging.getLogger(__name__)

# Limits of SendMessageBatch and of a queue's messages. Since 2025 both may be 1 MiB; a queue says what it allows.
MAX_ENTRIES: Final = 10
DEFAULT_LIMIT_BYTES: Final = 256 * 1024
# About the time that a core takes for a frame or two.
LINGER_SECONDS: Final = 0.05
# The bucket deletes what is old, states too, after a day at the earliest. Who needs one for longer puts it again.
RENEW_SECONDS: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class About:
    """What S3 keeps with an object.

    Attributes:
        record_sha256: Hash of the record that it was made from: metadata `record-sha256`.
        keep_days: Days until it is deleted, which the bucket's lifecycle reads from a tag; None: the bucket's own.
        captured_at: Of a frame, whose key does not tell it: metadata `captured-at`.
    """

    record_sha256: str = ""
    keep_days: int | None = None
    captured_at: datetime | None = None

    def arguments(self) -> dict[str, Any]:
        """Of PutObject."""
        metadata = {"record-sha256": self.record_sha256} if self.record_sha256 else {}
        if self.captured_at is not None:
            metadata[CAPTURED_AT] = format_time(self.captured_at)
        tagging = {"Tagging": f"{KEEP_DAYS_TAG}={self.keep_days}"} if self.keep_days else {}
        return {"Metadata": metadata, **tagging}


class FrameStore:
    """A bucket."""

    def __init__(self, client: Any, bucket: str, caller: Caller) -> None:
        self._client, self._bucket, self._call = client, bucket, caller

    async def put(self, key: str, body: bytes, content_type: str, about: About) -> None:
        """Returns when S3 holds the object, however long that takes.

        Raises:
            ServiceError: If the bucket is missing or forbidden.
        """
        await self._call(
            f"s3 put s3://{self._bucket}/{key}",
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, **about.arguments()
            ),
        )

    async def holds(self, key: str) -> bool:
        """Whether S3 holds an object.

        Its tags are asked for, of which it has none, because HEAD needs the right to read frames. Of a missing object
        S3 says `AccessDenied` to those who may not list the bucket.

        Raises:
            ServiceError: If the request is wrong.
        """

        def look() -> bool:
            try:
                self._client.get_object_tagging(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if classify(error) not in (Kind.MISSING, Kind.FORBIDDEN):
                    raise
                return False
            return True

        return await self._call(f"s3 tags s3://{self._bucket}/{key}", look)


class StateStore:
    """What outlives a lease, by name, in the bucket under a prefix of their own."""

    def __init__(self, client: Any, bucket: str, application: str, caller: Caller) -> None:
        self._client, self._bucket, self._call = client, bucket, caller
        self._prefix = f"state/{application}"

    async def put(self, name: str, text: str) -> None:
        """Returns when S3 holds the text, however long that takes.

        Raises:
            ServiceError: If the bucket is missing or forbidden.
        """
        key = self._key(name)
        await self._call(
            f"s3 put s3://{self._bucket}/{key}",
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=key, Body=text.encode(), ContentType="application/json"
            ),
        )

    async def get(self, name: str) -> str | None:
        """Gives the text that was put last; None if none was put or reading it is forbidden.

        S3 distinguishes the two only for callers that may list the bucket, which the worker may not.

        Raises:
            ServiceError: If the bucket is missing.
        """
        key = self._key(name)

        def read() -> str | None:
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                if code_of(error) not in ("NoSuchKey", "AccessDenied"):
                    raise
                logger.info("nothing is remembered of %s", name)
                return None
            return body.decode(errors="replace")

        return await self._call(f"s3 get s3://{self._bucket}/{key}", read)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}.json"


class MessageQueue:
    """A queue that takes messages in batches, in order.

    A batch that is not full waits a moment for expected messages, because a request costs as much processor time as
    three messages and SQS charges by the request. The message of a single frame does not wait.

    `run` must be running for anything to be sent.
    """

    def __init__(self, client: Any, url: str, caller: Caller) -> None:
        self._client, self._url, self._call = client, url, caller
        self._limit, self._limit_known = DEFAULT_LIMIT_BYTES, asyncio.Event()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._arrived, self._complete = asyncio.Event(), asyncio.Event()
        self._expected = 0

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Announces that a message may come before the end of the block."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._look()

    async def fits(self, body: str) -> bool:
        """Whether the queue takes so long a message."""
        await self._limit_known.wait()
        return len(body.encode()) <= self._limit

    def enqueue(self, body: str) -> asyncio.Future[None]:
        """Takes a message that fits; the future is done when SQS has it."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        self._arrived.set()
        self._look()
        return future

    async def run(self) -> None:
        """Sends until cancelled.

        Raises:
            SettingsError: If the queue cannot be used: a FIFO queue, or one for short messages alone.
            ServiceError: If the queue is missing or forbidden, or refuses a message as malformed.
        """
        await self._look_at_queue()
        attempt = 0
        while True:
            await self._arrived.wait()
            await self._linger()
            batch = self._take()
            failed = await self._send(batch)
            for number, (_, future) in enumerate(batch):
                if number not in failed and not future.done():
                    future.set_result(None)
            attempt = attempt + 1 if failed else 0
            if failed:
                logger.warning("sqs refused %d of %d messages, attempt %d", len(failed), len(batch), attempt)
                self._waiting.extendleft(batch[number] for number in sorted(failed, reverse=True))
                await back_off(attempt)
            if not self._waiting:
                self._arrived.clear()

    async def _look_at_queue(self) -> None:
        def read() -> dict[str, str]:
            try:
                answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])
            except ClientError as error:
                if classify(error) is not Kind.FORBIDDEN:
                    raise
                logger.warning("sqs look at %s: %s; messages stay below the default limit", self._url, code_of(error))
                return {}
            found: dict[str, str] = answer["Attributes"]
            return found

        found = await self._call(f"sqs look at {self._url}", read)
        self._limit = int(found.get("MaximumMessageSize", DEFAULT_LIMIT_BYTES))
        if found.get("FifoQueue") == "true":
            raise SettingsError(f"{self._url}: a FIFO queue; a standard queue is needed")
        if self._limit < LONGEST_SHORT_BYTES:
            needed = f"at least {LONGEST_SHORT_BYTES} are needed"
            raise SettingsError(f"{self._url}: its MaximumMessageSize is {self._limit}; {needed}")
        self._limit_known.set()

    async def _linger(self) -> None:
        self._complete.clear()
        self._look()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._complete.wait()

    def _look(self) -> None:
        """Ends the wait for a fuller batch if no more messages can come."""
        if not self._expected or len(self._waiting) >= MAX_ENTRIES:
            self._complete.set()

    def _take(self) -> list[tuple[str, asyncio.Future[None]]]:
        batch: list[tuple[str, asyncio.Future[None]]] = []
        size = 0
        while self._waiting and len(batch) < MAX_ENTRIES:
            size += len(self._waiting[0][0].encode())
            if batch and size > max(self._limit, DEFAULT_LIMIT_BYTES):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[tuple[str, asyncio.Future[None]]]) -> set[int]:
        """Sends a batch; gives the numbers of the entries that have to be sent again."""
        entries = [{"Id": str(number), "MessageBody": body} for number, (body, _) in enumerate(batch)]
        response = await self._call(
            f"sqs send {self._url}",
            lambda: self._client.send_message_batch(QueueUrl=self._url, Entries=entries),
        )
        failed = response.get("Failed", [])
        for entry in failed:
            if entry.get("SenderFault"):
                raise ServiceError(f"sqs send {self._url}: {entry.get('Code')}: {entry.get('Message')}")
        return {int(entry["Id"]) for entry in failed}

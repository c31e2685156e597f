"""Where outcomes go: frames to S3, messages to SQS."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from botocore.exceptions import ClientError

from kcl_worker.aws import Caller, back_off, error_code
from kcl_worker.errors import ServiceError

logger = logging.getLogger(__name__)

# Of SendMessageBatch. A queue may allow larger messages since 2025; ours stay far below.
MAX_ENTRIES: Final = 10
MAX_BATCH_BYTES: Final = 256 * 1024
# As long as a core takes for a frame or two.
LINGER_SECONDS: Final = 0.05


class FrameStore:
    """A bucket."""

    def __init__(self, client: Any, bucket: str, caller: Caller) -> None:
        self._client, self._bucket, self._call = client, bucket, caller

    async def put(self, key: str, body: bytes, content_type: str, record_sha256: str) -> None:
        """Returns when S3 holds the object, however long that takes.

        Args:
            record_sha256: Of the record that it was made of, kept with the object as `record-sha256`.

        Raises:
            ServiceError: If the bucket is missing or closed to us.
        """
        await self._call(
            f"s3 put s3://{self._bucket}/{key}",
            lambda: self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                Metadata={"record-sha256": record_sha256},
            ),
        )


class StateStore:
    """What is remembered of sources from one lease to the next, in the bucket under a prefix of its own."""

    def __init__(self, client: Any, bucket: str, application: str, caller: Caller) -> None:
        self._client, self._bucket, self._call = client, bucket, caller
        self._prefix = f"state/{application}"

    async def put(self, source: str, text: str) -> None:
        """Returns when S3 holds the text, however long that takes.

        Raises:
            ServiceError: If the bucket is missing or closed to us.
        """
        key = self._key(source)
        await self._call(
            f"s3 put s3://{self._bucket}/{key}",
            lambda: self._client.put_object(
                Bucket=self._bucket, Key=key, Body=text.encode(), ContentType="application/json"
            ),
        )

    async def get(self, source: str) -> str | None:
        """The text that was put last; None if none was, or if it is closed to us.

        S3 tells the two apart for those alone who may list the bucket, which the worker may not.

        Raises:
            ServiceError: If the bucket is missing.
        """
        key = self._key(source)

        def read() -> str | None:
            try:
                body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                if error_code(error) not in ("NoSuchKey", "AccessDenied"):
                    raise
                logger.info("nothing is remembered of %s", source)
                return None
            return body.decode(errors="replace")

        return await self._call(f"s3 get s3://{self._bucket}/{key}", read)

    def _key(self, source: str) -> str:
        return f"{self._prefix}/{source}.json"


class MessageQueue:
    """A queue that is sent to in batches, in order.

    A batch that is not full waits a moment for messages that are expected: a request costs as much processor time as
    three messages, and SQS charges by the request. A frame that is alone does not wait.

    `run` must be running for anything to be sent.
    """

    def __init__(self, client: Any, url: str, caller: Caller) -> None:
        self._client, self._url, self._call = client, url, caller
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._arrived, self._complete = asyncio.Event(), asyncio.Event()
        self._expected = 0

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Says that a message may come before the end of the block."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1
            self._look()

    def enqueue(self, body: str) -> asyncio.Future[None]:
        """Takes a message; the future is done when SQS has it."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        self._arrived.set()
        self._look()
        return future

    async def run(self) -> None:
        """Sends until cancelled.

        Raises:
            ServiceError: If the queue is missing or closed to us, or refuses a message as malformed.
        """
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

    async def _linger(self) -> None:
        self._complete.clear()
        self._look()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._complete.wait()

    def _look(self) -> None:
        """Ends the wait for a fuller batch where nothing more can come of it."""
        if not self._expected or len(self._waiting) >= MAX_ENTRIES:
            self._complete.set()

    def _take(self) -> list[tuple[str, asyncio.Future[None]]]:
        batch: list[tuple[str, asyncio.Future[None]]] = []
        size = 0
        while self._waiting and len(batch) < MAX_ENTRIES:
            size += len(self._waiting[0][0].encode())
            if batch and size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _send(self, batch: list[tuple[str, asyncio.Future[None]]]) -> set[int]:
        """Gives the numbers of the entries that have to be sent again."""
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

"""Reading results off the queue: at least once from SQS, once to whoever handles them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from pydantic import ValidationError

from consumer.errors import AccessError, ConsumerError, QueueError, UnreachableError
from contract.message import ResultMessage, SkippedMessage

logger = logging.getLogger(__name__)

# Of ReceiveMessage and DeleteMessageBatch.
MAX_MESSAGES: Final = 10
MAX_WAIT_SECONDS: Final = 20
# Frame ids that are remembered to recognise a message that comes again: half an hour at 50 frames/s.
REMEMBERED: Final = 100_000
ATTEMPTS: Final = 8
_MISSING: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_DENIED: Final = frozenset({
    "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException",
    "SignatureDoesNotMatch", "ExpiredToken",
})  # fmt: skip

Handler = Callable[[ResultMessage, str], None]
"""Handles a message, given parsed and as it came; an exception leaves it on the queue."""


@dataclass(slots=True)
class Tally:
    """What a reader has seen."""

    handled: int = 0
    duplicates: int = 0
    malformed: int = 0
    skipped: int = 0


class Remembered:
    """The latest frame ids, up to a number of them."""

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, frame_id: str) -> bool:
        return frame_id in self._ids

    def add(self, frame_id: str) -> None:
        self._ids[frame_id] = None
        self._ids.move_to_end(frame_id)
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)


class ResultReader:
    """Hands each frame's result to a handler once, then deletes it from the queue.

    A message that is no result is left where it is: the queue's redrive policy moves it to the
    dead-letter queue.

    Args:
        sqs: A client that does not retry by itself.
    """

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs, self._queue_url = sqs, queue_url
        self._seen = Remembered()
        self.tally = Tally()

    def run(
        self,
        handle: Handler,
        stop: threading.Event,
        *,
        limit: int | None = None,
        idle_seconds: float | None = None,
    ) -> None:
        """Reads until told to stop, `limit` results are handled, or none has come for so long.

        Raises:
            ConsumerError: If the queue is missing, closed to us or out of reach.
        """
        last = time.monotonic()
        while not stop.is_set():
            room = MAX_MESSAGES if limit is None else min(MAX_MESSAGES, limit - self.tally.handled)
            if room <= 0 or (idle_seconds is not None and time.monotonic() - last > idle_seconds):
                return
            # A short poll while idling, so that Ctrl-C and the end are noticed soon.
            wait = 2 if idle_seconds is None else min(2, max(0, int(idle_seconds)))
            messages = self._receive(room, wait)
            done = []
            try:
                for message in messages:
                    if self._handle(message, handle):
                        done.append(message)
                    if stop.is_set():
                        break
            finally:
                self._delete(done)
            if messages:
                last = time.monotonic()

    def _handle(self, message: dict[str, Any], handle: Handler) -> bool:
        """Whether the message may be deleted."""
        if "skipped" in message["Body"] and _is_skipped(message["Body"]):
            self.tally.skipped += 1
            return True
        try:
            result = ResultMessage.model_validate_json(message["Body"])
        except ValidationError as error:
            self.tally.malformed += 1
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "body"
            logger.warning("message %s left on the queue: %s: %s", message["MessageId"], where, problem["msg"])
            return False
        if result.frame_id in self._seen:
            self.tally.duplicates += 1
            return True
        handle(result, message["Body"])
        self._seen.add(result.frame_id)
        self.tally.handled += 1
        return True

    def _receive(self, number: int, wait: int) -> list[dict[str, Any]]:
        response = self._call(
            lambda: self._sqs.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=number, WaitTimeSeconds=wait
            )
        )
        messages: list[dict[str, Any]] = response.get("Messages", [])
        return messages

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        if not messages:
            return
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)
        ]
        # An entry that fails comes again and is then known.
        self._call(lambda: self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries))

    def _call(self, work: Callable[[], Any]) -> Any:
        return call(self._queue_url, work)


def _is_skipped(body: str) -> bool:
    """Whether a message says that its frame was too old to be looked at."""
    try:
        SkippedMessage.model_validate_json(body)
    except ValidationError:
        return False
    return True


def call(what: str, work: Callable[[], Any]) -> Any:
    """Makes a call, again with full jitter while its service fails.

    Raises:
        ConsumerError: One line that says what is wrong.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except (ClientError, BotoCoreError) as error:
            failure = explain(error, what)
            if not isinstance(failure, UnreachableError) or attempt == ATTEMPTS:
                raise failure from None
            time.sleep(random.uniform(0, min(10.0, 0.1 * 2**attempt)))  # noqa: S311
    raise AssertionError("unreachable")


def explain(error: Exception, what: str) -> ConsumerError:
    """Makes one line of an SDK's error; `UnreachableError` for what may pass."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return AccessError("no AWS credentials found: `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID")
    text = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "Unknown")
        if code in _MISSING:
            return QueueError(f"{what}: no such queue")
        if code in _DENIED:
            return AccessError(f"{what}: {code}")
        if code in ("NoSuchKey", "NoSuchBucket"):
            return ConsumerError(f"{what}: {code}")
    return UnreachableError(f"{what}: {text}")

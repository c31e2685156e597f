"""Reads results off the queue: SQS delivers them at least once, the handler gets each once."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from cloud.errors import ERRORS, STRANGE, Kind, classify, code_of, describe, lack_of_credentials
from cloud.retry import full_jitter
from consumer.errors import AccessError, ConsumerError, QueueError, RefusedError, UnreachableError
from contract.message import ResultMessage, SkippedMessage, TallyMessage

logger = logging.getLogger(__name__)

# Limit of ReceiveMessage and DeleteMessageBatch.
MAX_MESSAGES: Final = 10
# The number of frame ids that are remembered to recognise repeated messages: half an hour at 50 frames/s.
REMEMBERED: Final = 100_000
ATTEMPTS: Final = 8
BACKOFF_BASE_SECONDS: Final = 0.1
BACKOFF_CAP_SECONDS: Final = 10.0

Other = TypeVar("Other", bound=BaseModel)
Handler = Callable[[ResultMessage, str], None]
"""Handles a message, given parsed and as it came. An exception leaves it on the queue and ends the reading; a
`RefusedError` only leaves it there."""
NoResult = SkippedMessage | TallyMessage
NoResultHandler = Callable[[NoResult, str], None]
"""Handles a message of frames that have no result, likewise."""
MessageHandler = Callable[[ResultMessage | NoResult, str], None]
"""Handles either."""


@dataclass(slots=True)
class Tally:
    """Counts of what a reader has seen: messages, and the frames that the tallies among them count."""

    handled: int = 0
    duplicates: int = 0
    malformed: int = 0
    refused: int = 0
    skipped: int = 0
    tallied: int = 0


class Remembered:
    """The latest frame ids, up to a limit."""

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

    A message that is not a result, or that points at what is not the pipeline's, stays on the queue: the queue's
    redrive policy moves it to the dead-letter queue.

    Args:
        sqs: A client that does not retry by itself.
        others: Given each message of frames that have no result, once.
    """

    def __init__(self, sqs: Any, queue_url: str, others: NoResultHandler = lambda *_: None) -> None:
        self._sqs, self._queue_url, self.others = sqs, queue_url, others
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
        """Reads until `stop` is set, `limit` results are handled, or none has come for `idle_seconds`.

        Raises:
            ConsumerError: If the queue is missing, forbidden or out of reach.
        """
        last = time.monotonic()
        while not stop.is_set():
            room = MAX_MESSAGES if limit is None else min(MAX_MESSAGES, limit - self.tally.handled)
            if room <= 0:
                return
            # A short poll while idle, so that Ctrl-C and the end are noticed soon.
            wait = 2 if idle_seconds is None else int(min(2, idle_seconds))
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
            elif idle_seconds is not None and time.monotonic() - last >= idle_seconds:
                return

    def _handle(self, message: dict[str, Any], handle: Handler) -> bool:
        """Handles a message; gives whether it may be deleted."""
        body = message["Body"]
        if other := _read(SkippedMessage, "skipped", body) or _read(TallyMessage, "tally", body):
            return self._handle_other(other, body)
        try:
            result = ResultMessage.model_validate_json(body)
        except ValidationError as error:
            self.tally.malformed += 1
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "body"
            logger.warning("message %s left on the queue: %s: %s", message["MessageId"], where, problem["msg"])
            return False
        if result.frame_id in self._seen:
            self.tally.duplicates += 1
            return True
        try:
            handle(result, body)
        except RefusedError as error:
            self.tally.refused += 1
            logger.warning("message %s left on the queue: %s", message["MessageId"], error)
            return False
        self._seen.add(result.frame_id)
        self.tally.handled += 1
        return True

    def _handle_other(self, message: NoResult, body: str) -> bool:
        name = f"{message.kind} {message.tally_id if isinstance(message, TallyMessage) else message.frame_id}"
        if name in self._seen:
            self.tally.duplicates += 1
            return True
        self.others(message, body)
        self._seen.add(name)
        if isinstance(message, TallyMessage):
            self.tally.tallied += message.frames
        else:
            self.tally.skipped += 1
        return True

    def _receive(self, number: int, wait: int) -> list[dict[str, Any]]:
        return received(
            self._queue_url,
            lambda: self._sqs.receive_message(
                QueueUrl=self._queue_url, MaxNumberOfMessages=number, WaitTimeSeconds=wait
            ),
        )

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        if not messages:
            return
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)
        ]
        # A message whose deletion fails comes again, and its frame id is then known.
        self._call(lambda: self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries))

    def _call(self, work: Callable[[], Any]) -> Any:
        return call(self._queue_url, work)


def _read(message: type[Other], kind: str, body: str) -> Other | None:
    """Reads a message of this kind; None if it is another, such as a result that has the word somewhere."""
    if f'"{kind}"' not in body:
        return None
    try:
        return message.model_validate_json(body)
    except ValidationError:
        return None


def received(queue_url: str, work: Callable[[], Any]) -> list[dict[str, Any]]:
    """The messages that a call of `ReceiveMessage` gives.

    Raises:
        ConsumerError: As in `call`.
    """
    needed = ("MessageId", "ReceiptHandle", "Body")
    messages: list[dict[str, Any]] = call(
        queue_url, lambda: [{name: found[name] for name in needed} for found in work().get("Messages", ())]
    )
    return messages


def call(what: str, work: Callable[[], Any], attempts: int = ATTEMPTS) -> Any:
    """Makes a call, and repeats it with full jitter while its service fails.

    Raises:
        ConsumerError: One line that says what is wrong.
    """
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except ERRORS as error:
            failure = explain(error, what)
            if not isinstance(failure, UnreachableError) or attempt == attempts:
                raise failure from None
            time.sleep(full_jitter(attempt, BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS))
        except STRANGE as error:
            raise ConsumerError(f"{what}: what answers there is not AWS: {type(error).__name__}") from None
    raise AssertionError("unreachable")


def explain(error: Exception, what: str) -> ConsumerError:
    """Turns an error of the SDK into one line; `UnreachableError` for an error that may pass."""
    kind, text = classify(error), f"{what}: {describe(error)}"
    if lack := lack_of_credentials(error):
        return AccessError(f"{lack}: `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID")
    if kind is Kind.MISSING:
        return QueueError(f"{what}: no such queue") if "Queue" in code_of(error) else ConsumerError(text)
    if kind in (Kind.FORBIDDEN, Kind.CREDENTIALS, Kind.EXPIRED):
        return AccessError(text)
    return ConsumerError(text) if kind is Kind.WRONG else UnreachableError(text)

"""Records that could not be processed: what they are, and their way back to the stream."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from consumer.results import MAX_MESSAGES, call
from contract.message import QuarantineMessage

logger = logging.getLogger(__name__)

# For so long nobody else sees the notices that are being looked at.
HOLD_SECONDS: Final = 120


@dataclass
class Held:
    """A notice, with the handles of all messages that carry it."""

    notice: QuarantineMessage
    handles: list[str] = field(default_factory=list)


class Quarantine:
    """The queue of notices, and the bytes behind them."""

    def __init__(self, sqs: Any, s3: Any, kinesis: Any, queue_url: str) -> None:
        self._sqs, self._s3, self._kinesis, self._queue_url = sqs, s3, kinesis, queue_url

    @contextmanager
    def hold(self) -> Iterator[dict[str, Held]]:
        """All notices by frame id; those that are not redriven go back to the queue.

        Raises:
            ConsumerError: If the queue is missing, closed to us or out of reach.
        """
        held: dict[str, Held] = {}
        others: list[str] = []
        try:
            self._collect(held, others)
            yield held
        finally:
            for handle in [*others, *(handle for one in held.values() for handle in one.handles)]:
                self._sqs.change_message_visibility(QueueUrl=self._queue_url, ReceiptHandle=handle, VisibilityTimeout=0)

    def record(self, notice: QuarantineMessage) -> bytes:
        """The record's bytes.

        Raises:
            ConsumerError: If they cannot be had; they expire with the bucket's other objects.
        """
        what = f"s3://{notice.bucket}/{notice.key}"
        data: bytes = call(what, lambda: self._s3.get_object(Bucket=notice.bucket, Key=notice.key)["Body"].read())
        return data

    def redrive(self, held: Held) -> None:
        """Puts a record on its stream again; then it is no longer in quarantine.

        Raises:
            ConsumerError: If that fails; the record is still in quarantine then.
        """
        notice, data = held.notice, self.record(held.notice)
        call(
            f"stream {notice.stream_name}",
            lambda: self._kinesis.put_record(StreamName=notice.stream_name, Data=data, PartitionKey=notice.source),
        )
        call(
            f"s3://{notice.bucket}/{notice.key}",
            lambda: self._s3.delete_object(Bucket=notice.bucket, Key=notice.key),
        )
        while held.handles:
            self._forget(held.handles[-1])
            held.handles.pop()

    def _forget(self, handle: str) -> None:
        call(self._queue_url, lambda: self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=handle))

    def _collect(self, held: dict[str, Held], others: list[str]) -> None:
        while messages := call(self._queue_url, self._receive).get("Messages"):
            for message in messages:
                try:
                    notice = QuarantineMessage.model_validate_json(message["Body"])
                except ValidationError:
                    logger.warning("message %s is no notice of quarantine", message["MessageId"])
                    others.append(message["ReceiptHandle"])
                    continue
                held.setdefault(notice.frame_id, Held(notice)).handles.append(message["ReceiptHandle"])

    def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=MAX_MESSAGES,
            WaitTimeSeconds=1,
            VisibilityTimeout=HOLD_SECONDS,
        )
        return answer

"""Records that could not be processed: their notices, their bytes and their way back to the stream."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import ValidationError

from cloud.errors import code_of
from cloud.queues import give_back
from consumer.bucket import Bucket
from consumer.errors import ConsumerError, GoneError, RefusedError
from consumer.results import MAX_MESSAGES, call, received
from contract.message import QuarantineMessage

logger = logging.getLogger(__name__)

# How long other readers do not see the notices that a command has received.
HOLD_SECONDS: Final = 120
# What a record of Kinesis has at most.
MAX_RECORD_BYTES: Final = 10 * 1024 * 1024


@dataclass
class Held:
    """A notice, with the handles of all messages that carry it."""

    notice: QuarantineMessage
    handles: list[str] = field(default_factory=list)


class Quarantine:
    """The queue of notices and the bytes of their records.

    Args:
        bucket: Where the bytes lie; notices that name another one are refused.
        stream_name: Where records go back to; notices that name another one are refused. None: wherever they came from.
    """

    def __init__(self, sqs: Any, kinesis: Any, queue_url: str, bucket: Bucket, stream_name: str | None = None) -> None:
        self._sqs, self._kinesis, self._queue_url, self._bucket = sqs, kinesis, queue_url, bucket
        self._stream_name = stream_name

    @contextmanager
    def hold(self) -> Iterator[dict[str, Held]]:
        """Gives all notices by frame id; those that are not redriven go back to the queue.

        Raises:
            ConsumerError: If the queue is missing, forbidden or out of reach.
        """
        held: dict[str, Held] = {}
        others: list[str] = []
        try:
            self._collect(held, others)
            yield held
        finally:
            handles = [*others, *(handle for one in held.values() for handle in one.handles)]
            give_back(self._sqs, self._queue_url, handles)

    def record(self, notice: QuarantineMessage) -> bytes:
        """Gives the record's bytes.

        Raises:
            ConsumerError: If they cannot be read, for example because they have expired like other objects, or were not
                kept.
        """
        return self._find(notice)[1]

    def redrive(self, held: Held) -> None:
        """Puts a record on its stream again and takes it out of quarantine.

        Once it is on the stream, a worker may quarantine it again at any moment, under the same key and with a new
        notice. So its bytes are put aside before that, and nothing is deleted under that key afterwards. If this is cut
        short, the notice stays, and the bytes are found where they were put aside.

        Raises:
            ConsumerError: If that fails; the record then stays in quarantine.
        """
        notice = held.notice
        if self._stream_name not in (None, notice.stream_name):
            raise RefusedError(f"{notice.frame_id} is said to be of another stream than {self._stream_name}")
        key, data = self._find(notice)
        if key == notice.key:
            self._bucket.copy(key, _aside(notice))
            self._bucket.delete(key)
        try:
            call(f"stream {notice.stream_name}", lambda: self._put(notice, data))
        except ConsumerError:
            self._bucket.copy(_aside(notice), notice.key)
            raise
        while held.handles:
            self._forget(held.handles[-1])
            held.handles.pop()
        self._bucket.delete(_aside(notice))

    def _find(self, notice: QuarantineMessage) -> tuple[str, bytes]:
        """Where a record's bytes lie, and the bytes."""
        self._bucket.check(f"frame {notice.frame_id}", notice.bucket)
        key = notice.key
        try:
            data = self._bucket.read(key, MAX_RECORD_BYTES)
        except GoneError as gone:
            key = _aside(notice)
            try:
                data = self._bucket.read(key, MAX_RECORD_BYTES)
            except GoneError:
                raise gone from None
        if notice.size and not data:  # QUARANTINE_KEEPS=reasons, or its source hides something
            raise GoneError(f"{notice.frame_id}: its bytes were not kept: there is nothing to send again")
        return key, data

    def _put(self, notice: QuarantineMessage, data: bytes) -> None:
        try:
            self._kinesis.put_record(StreamName=notice.stream_name, Data=data, PartitionKey=notice.source)
        except ClientError as error:
            if code_of(error) != "ResourceNotFoundException":
                raise
            raise GoneError(f"{notice.frame_id}: its stream {notice.stream_name} is not there any more") from None

    def _forget(self, handle: str) -> None:
        call(self._queue_url, lambda: self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=handle))

    def _collect(self, held: dict[str, Held], others: list[str]) -> None:
        known = set[str]()
        while messages := received(self._queue_url, self._receive):
            if known.issuperset(ids := {message["MessageId"] for message in messages}):
                return  # collecting took so long that the first have come back
            known |= ids
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


def _aside(notice: QuarantineMessage) -> str:
    """Where a record's bytes lie while it is put on its stream; like all objects, they expire."""
    return "redriven/" + notice.key.removeprefix("quarantine/")

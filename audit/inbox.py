"""Takes an audit's own messages off a queue that others read too."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from cloud.queues import give_back
from contract.message import ResultMessage, SkippedMessage

_MESSAGE: Final = TypeAdapter[ResultMessage | SkippedMessage](ResultMessage | SkippedMessage)


class Inbox:
    """Takes the audit's own results, and what says that a frame was skipped; all else goes back at the end.

    A message that went back at once would come again and again, until its receives made it a dead letter.

    Args:
        mark: A piece of JSON that only the audit's own messages contain: a source, or a frame's id.
    """

    def __init__(self, sqs: Any, queue_url: str, mark: str) -> None:
        self._sqs, self._url, self._mark = sqs, queue_url, f'"{mark}"'
        self._others: list[str] = []

    def take(self, wait_seconds: int = 1) -> list[ResultMessage | SkippedMessage]:
        """Gives the audit's own among the next messages, and deletes them from the queue."""
        own = []
        answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds)
        for message in answer.get("Messages", []):
            if (found := self._own(message["Body"])) is None:
                self._others.append(message["ReceiptHandle"])
            else:
                own.append(found)
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return own

    def _own(self, body: str) -> ResultMessage | SkippedMessage | None:
        if self._mark not in body:
            return None
        try:
            return _MESSAGE.validate_json(body)
        except ValidationError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        give_back(self._sqs, self._url, self._others)

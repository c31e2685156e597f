"""Takes an audit's own results off a queue that others read too."""

from __future__ import annotations

from typing import Any, Self

from contract.message import ResultMessage


class Inbox:
    """Takes the audit's own results; messages of others go back to the queue at the end.

    A message that went back at once would come again and again, until its receives made it a dead letter.

    Args:
        mark: A piece of JSON that only the audit's own messages contain: a source, or a frame's id.
    """

    def __init__(self, sqs: Any, queue_url: str, mark: str) -> None:
        self._sqs, self._url, self._mark = sqs, queue_url, f'"{mark}"'
        self._others: list[str] = []

    def take(self, wait_seconds: int = 1) -> list[ResultMessage]:
        """Gives the audit's own among the next messages, and deletes them from the queue."""
        own = []
        answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds)
        for message in answer.get("Messages", []):
            if self._mark in message["Body"]:
                own.append(ResultMessage.model_validate_json(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            else:
                self._others.append(message["ReceiptHandle"])
        return own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._others:
            self._sqs.change_message_visibility(QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=0)

"""Where moto's SQS departs from the service, and the corrections.

| moto 5.2                                          | SQS                                       |
| ------------------------------------------------- | ----------------------------------------- |
| setting any attribute removes the queue's policy  | a policy stays until it is replaced       |
| a redrive policy comes back with other spaces     | it comes back as it was set               |
| each call walks all messages of the queue         | a queue's length costs nothing            |
| a message over its retention stops a receipt      | it is deleted                             |
| limits of messages and batches count characters   | they count bytes                          |

`correct()` puts them into moto, once per process.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from moto.core.utils import unix_time, unix_time_millis
from moto.sqs.constants import MAXIMUM_MESSAGE_LENGTH
from moto.sqs.exceptions import BatchRequestTooLong, InvalidParameterValue, ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue, SQSBackend, _filter_message_attributes

from local.messages import Messages

# What moto and the service allow: from the sending of a message on, in seconds.
MAX_VISIBILITY_SECONDS = 12 * 3600
_stock_set = Queue._set_attributes
_stock_attributes = Queue.attributes
_stock_validate = SQSBackend._validate_message
_stock_send_batch = SQSBackend.send_message_batch


def _set_attributes(self: Queue, attributes: dict[str, Any], now: float | None = None) -> None:
    before = getattr(self, "policy", None)
    _stock_set(self, attributes, now)
    if "Policy" not in attributes:
        self.policy = before


def _attributes(self: Queue) -> dict[str, Any]:
    found: dict[str, Any] = _stock_attributes.fget(self)  # type: ignore[attr-defined]
    if redrive := found.get("RedrivePolicy"):
        found["RedrivePolicy"] = json.dumps(json.loads(redrive), separators=(",", ":"))
    return found


def _get_messages(self: Queue) -> Messages:
    found: Messages = self.__dict__["_messages"]
    return found


def _set_messages(self: Queue, messages: Iterable[Message]) -> None:
    """moto gives a queue a list when it is made and when it is purged."""
    self.__dict__["_messages"] = Messages(messages)


def _delete(self: Queue, receipt_handle: str) -> None:
    if receipt_handle in self.deleted_messages:
        return
    message = _get_messages(self).of(receipt_handle)
    if message is None:
        raise ReceiptHandleIsInvalid()
    self.deleted_messages.update(filter(None, message.all_receipt_handles))
    with self._messages_lock:
        _get_messages(self).remove(message)
        self._messages_lock.notify_all()  # of a FIFO queue, the next of its group can be received


def _receive(
    self: SQSBackend,
    queue_name: str,
    count: int,
    wait_seconds_timeout: int,
    visibility_timeout: int,
    message_attribute_names: list[str] | None = None,
) -> list[Message]:
    queue, end = self.get_queue(queue_name), unix_time() + wait_seconds_timeout
    with queue._messages_lock:  # whoever adds a message notifies those who wait for it
        while not (found := _take(queue, count, visibility_timeout)) and (left := end - unix_time()) > 0:
            # Nobody says when a message becomes visible again, so a receiver looks every second.
            queue._messages_lock.wait(min(left, 1))
    # What is left out of the attributes is left out of this answer, not of the message.
    answered = [copy.copy(message) for message in found]
    for message in answered:
        _filter_message_attributes(message, message_attribute_names or [])
    return answered


def _take(queue: Any, number: int, visibility_timeout: int) -> list[Message]:
    """Receives what has not been received too often; that goes to the queue of dead letters."""
    taken: list[Message] = []
    redrive: dict[str, Any] | None = queue.redrive_policy
    limits = {"retention": queue.message_retention_period, "fifo": queue.fifo_queue}
    while found := _get_messages(queue).take(number - len(taken), visibility_timeout, **limits):
        for message in found:
            if queue.dead_letter_queue and redrive and message.approximate_receive_count > redrive["maxReceiveCount"]:
                _bury(message, queue, queue.dead_letter_queue)
            else:
                taken.append(message)
        if len(taken) == number or not visibility_timeout:
            break
    return taken


def _bury(message: Message, queue: Queue, dead_letters: Queue) -> None:
    _get_messages(queue).remove(message)
    message.approximate_receive_count -= 1  # it was not given to anyone this time
    message.visible_at = 0.0
    dead_letters.add_message(message)


def _change_visibility(self: SQSBackend, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
    queue = self.get_queue(queue_name)
    message = _get_messages(queue).of(receipt_handle)
    if message is None:
        raise ReceiptHandleIsInvalid
    end = unix_time_millis() + int(visibility_timeout) * 1000
    if end - (message.sent_timestamp or 0) > MAX_VISIBILITY_SECONDS * 1000:
        raise InvalidParameterValue(
            f"Value {visibility_timeout} for parameter VisibilityTimeout is invalid. Reason: Total "
            f"VisibilityTimeout for the message is beyond the limit [{MAX_VISIBILITY_SECONDS} seconds]"
        )
    with queue._messages_lock:
        _get_messages(queue).change_visibility(message, int(visibility_timeout))
        queue._messages_lock.notify_all()


def _validate_message(self: SQSBackend, queue: Any, message_body: str, *others: Any, **more: Any) -> None:
    limit = int(queue.maximum_message_size or 0)
    if len(message_body.encode()) > limit:
        raise InvalidParameterValue(
            f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
        )
    _stock_validate(self, queue, message_body, *others, **more)


def _send_batch(self: SQSBackend, queue_name: str, entries: dict[str, dict[str, Any]]) -> Any:
    size = sum(len(entry["MessageBody"].encode()) for entry in entries.values())
    if size > MAXIMUM_MESSAGE_LENGTH:
        raise BatchRequestTooLong(size)
    return _stock_send_batch(self, queue_name, entries)


def correct() -> None:
    """Puts the corrections into moto."""
    queue: Any = Queue
    queue._set_attributes = _set_attributes
    queue.attributes = property(_attributes)
    queue._messages = property(_get_messages, _set_messages)
    queue.messages = property(lambda self: _get_messages(self).ready())
    queue.approximate_number_of_messages = property(lambda self: _get_messages(self).count()[0])
    queue.approximate_number_of_messages_delayed = property(lambda self: _get_messages(self).count()[1])
    queue.approximate_number_of_messages_not_visible = property(lambda self: _get_messages(self).count()[2])
    queue.delete_message = _delete
    backend: Any = SQSBackend
    backend.receive_message = _receive
    backend.change_message_visibility = _change_visibility
    backend._validate_message = _validate_message
    backend.send_message_batch = _send_batch

"""Errors that end the consumer, each with an exit status that a script can act on.

ConsumerError
├── QueueError         3   no such queue
├── AccessError        4   no credentials, or not allowed
├── DiskError          5   the folder cannot be written
├── UnreachableError   6   the service cannot be reached
├── GoneError              an object has expired or was deleted
└── RefusedError           a message points at what is not the pipeline's

The last two end a command only where it was asked for that object alone; a reader of many goes on.
"""

from __future__ import annotations

from typing import ClassVar


class ConsumerError(Exception):
    """Ends the consumer; its text is one line for the user."""

    exit_status: ClassVar[int] = 1


class QueueError(ConsumerError):
    exit_status = 3


class AccessError(ConsumerError):
    exit_status = 4


class DiskError(ConsumerError):
    exit_status = 5


class UnreachableError(ConsumerError):
    exit_status = 6


class GoneError(ConsumerError):
    """The object that a message names is not there any more."""


class RefusedError(ConsumerError):
    """A message points at an object that is not the pipeline's, or not what the message says."""

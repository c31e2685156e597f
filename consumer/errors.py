"""What ends the consumer, each with the exit status that a script can act on.

ConsumerError
├── QueueError         3   no such queue
├── AccessError        4   no credentials, or not allowed
├── DiskError          5   the folder cannot be written
└── UnreachableError   6   the service cannot be reached
"""

from __future__ import annotations

from typing import ClassVar


class ConsumerError(Exception):
    """Ends the consumer; its text is one line for whoever runs it."""

    exit_status: ClassVar[int] = 1


class QueueError(ConsumerError):
    exit_status = 3


class AccessError(ConsumerError):
    exit_status = 4


class DiskError(ConsumerError):
    exit_status = 5


class UnreachableError(ConsumerError):
    exit_status = 6

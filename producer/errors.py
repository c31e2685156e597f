"""What ends the producer, each with the exit status that a script can act on.

ProducerError
├── StreamError        3   no such stream
├── AccessError        4   no credentials, or not allowed
├── SourceError        5   a source cannot be opened or read
└── UnreachableError   6   the service cannot be reached
"""

from __future__ import annotations

from typing import ClassVar


class ProducerError(Exception):
    """Ends the producer; its text is one line for whoever runs it."""

    exit_status: ClassVar[int] = 1


class StreamError(ProducerError):
    exit_status = 3


class AccessError(ProducerError):
    exit_status = 4


class SourceError(ProducerError):
    exit_status = 5


class UnreachableError(ProducerError):
    exit_status = 6

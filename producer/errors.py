"""Errors that end the producer, each with an exit status that a script can act on.

ProducerError
├── SettingsError      2   region, endpoint or the SDK's files cannot be used
├── StreamError        3   no such stream
├── AccessError        4   no credentials, or not allowed
├── SourceError        5   a source cannot be opened or read
│   ├── PictureError   5   some of its pictures cannot; the others can
│   └── UnreachedError 5   a camera cannot be reached; it may be later
└── UnreachableError   6   the service cannot be reached
"""

from __future__ import annotations

from typing import ClassVar


class ProducerError(Exception):
    """Ends the producer; its text is one line for the user."""

    exit_status: ClassVar[int] = 1


class SettingsError(ProducerError):
    exit_status = 2


class StreamError(ProducerError):
    exit_status = 3


class AccessError(ProducerError):
    exit_status = 4


class SourceError(ProducerError):
    exit_status = 5


class PictureError(SourceError):
    """Pictures of a source that cannot be read, while its others can.

    Args:
        number: How many.
    """

    def __init__(self, text: str, number: int = 1) -> None:
        super().__init__(text)
        self.number = number


class UnreachedError(SourceError):
    """A camera behind a URL cannot be reached; it may be later."""


class UnreachableError(ProducerError):
    exit_status = 6

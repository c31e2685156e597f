"""Text of strangers on a terminal."""

from __future__ import annotations

import logging


def plain(text: str) -> str:
    """A line without what a terminal would obey: colours, other places on the screen, more lines."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


class PlainFormatter(logging.Formatter):
    """Makes each message one line of plain text."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))

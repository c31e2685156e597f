"""Writes a line of JSON for each frame that the stream has accepted; `audit` compares it with the frame's outcome.

At the end come those that it may have accepted, unless a kill is the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

from contract.ledger import Accepted
from producer.errors import ProducerError


class Ledger:
    """A file that grows by one line with each frame. Frames go on when it cannot be written any more.

    Args:
        tell: Called once, with one line, when that happens.

    Raises:
        ProducerError: If it cannot be opened.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path, self._tell, self._whole = path, tell, True
        try:
            self._file = path.open("a", buffering=1)
        except OSError as error:
            raise ProducerError(f"--ledger {path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._give_up(error)

    def __call__(self, record: bytes, shard_id: str, sequence_number: str) -> None:
        """Writes the line of a record that the stream has taken."""
        self._write(Accepted.of(record, shard_id, sequence_number))

    def unanswered(self, record: bytes) -> None:
        """Writes the line of a record that the stream may have taken; nobody waits for its answer any more."""
        self._write(Accepted.of(record, "", "", answered=False))

    def _write(self, line: Accepted) -> None:
        if self._whole:
            try:
                self._file.write(line.to_json() + "\n")
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self._whole:
            self._whole = False
            self._tell(f"--ledger {self._path}: {error.strerror}; frames from here on are sent but not in it")

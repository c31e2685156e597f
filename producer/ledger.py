"""A line of JSON for each frame that the stream has accepted; `audit` compares it with what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from contract.ledger import Accepted
from producer.errors import ProducerError


class Ledger:
    """A file that grows by a line with each frame.

    Raises:
        ProducerError: If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", buffering=1)
        except OSError as error:
            raise ProducerError(f"--ledger {path}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, record: bytes, shard_id: str, sequence_number: str) -> None:
        """Notes a record that the stream has taken."""
        self._file.write(Accepted.of(record, shard_id, sequence_number).to_json() + "\n")

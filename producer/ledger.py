"""A line of JSON for each frame that the stream has accepted; `audit` compares it with what came of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from contract import Frame, Position, identify
from producer.errors import ProducerError


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted frame, with the places where either outcome of it will lie."""

    frame_id: str
    source: str
    index: int | None
    key: str
    quarantine_key: str
    sha256: str


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
        metadata = Frame.parse(record).metadata
        assert metadata is not None  # our frames carry theirs
        # Of a frame with metadata nothing depends on its place on the stream.
        identity = identify(metadata, Position(shard_id, sequence_number, metadata.source, datetime.now(UTC)))
        entry = Entry(
            identity.frame_id,
            identity.source,
            identity.index,
            identity.key,
            identity.quarantine_key,
            hashlib.sha256(record).hexdigest(),
        )
        self._file.write(json.dumps(asdict(entry), separators=(",", ":")) + "\n")

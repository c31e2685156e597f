"""A line of the producer's ledger: a frame that the stream has accepted, and the keys of its possible outcomes.

A producer that ends before an answer notes that frame too, since the stream may have taken it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from contract.frame import Frame
from contract.identity import Position, identify


@dataclass(frozen=True, slots=True)
class Accepted:
    """A frame that the stream has taken, or may have taken.

    Attributes:
        index: Its place among its source's frames; None for a plain JPEG.
        key, quarantine_key: Where the annotated frame or the quarantined record must lie.
        sha256: Hash of the record's bytes, in hexadecimal.
        answered: False if the producer had no answer, so that nobody knows whether the stream has taken the frame.
    """

    frame_id: str
    source: str
    index: int | None
    key: str
    quarantine_key: str
    sha256: str
    answered: bool = True

    @classmethod
    def of(cls, record: bytes, shard_id: str, sequence_number: str, *, answered: bool = True) -> Accepted:
        """Names the outcomes of a record with metadata; neither its place nor its arrival time is part of any name."""
        metadata = Frame.parse(record).metadata
        key = metadata.source if metadata else ""
        identity = identify(metadata, Position(shard_id, sequence_number, key, datetime.now(UTC)))
        digest = hashlib.sha256(record).hexdigest()
        keys = identity.key, identity.quarantine_key
        return cls(identity.frame_id, identity.source, identity.index, *keys, digest, answered)

    def is_stored(self, keys: Container[str]) -> bool:
        """Whether anything of it is among the bucket's keys."""
        return self.key in keys or self.quarantine_key in keys

    def to_json(self) -> str:
        """The line, without its end."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Accepted:
        """Reads `to_json`'s form.

        Raises:
            ValueError, TypeError: If it is of another form.
        """
        return cls(**json.loads(line))

"""The producer's ledger: a line of JSON for each frame that the stream has accepted (`producer send --ledger`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """A frame that the stream has taken.

    Attributes:
        index: Its place among its source's frames; None for a plain JPEG.
        key, quarantine_key: Where the one or the other outcome of it must lie.
        sha256: Of the record's bytes, in hexadecimal.
    """

    frame_id: str
    source: str
    index: int | None
    key: str
    quarantine_key: str
    sha256: str


def read_ledger(path: Path) -> list[Accepted]:
    """All frames of a ledger, in the order of their acceptance. A last line that was cut by a kill is passed over."""
    accepted = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            accepted.append(Accepted(**json.loads(line)))
    return accepted

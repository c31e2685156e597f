"""Coverage-guided fuzzing of what a stranger's record meets first: `make fuzz-guided`.

    python -m tests.guided -runs=1000000

Whatever libFuzzer finds, the parser gives a frame or the one allowed error, and the keys stay below their prefixes.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import atheris

with atheris.instrument_imports(include=["contract"]):
    from contract import Frame, FrameError, Position, identify

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def one_input(data: bytes) -> None:
    """Parses a record and names it."""
    position = Position("shardId-000000000000", "42", data[:256].decode("latin-1") or "k", NOON)
    try:
        metadata = Frame.parse(data).metadata
    except FrameError:
        metadata = None
    identity = identify(metadata, position)
    for key, prefix in ((identity.key, "frames/"), (identity.quarantine_key, "quarantine/")):
        if not key.startswith(prefix) or {"..", ".", ""} & set(key.split("/")):
            raise AssertionError(key)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

"""Coverage-guided fuzzing of the code that reads a record first: `make fuzz-guided`.

    python -m tests.guided -runs=1000000

Whatever libFuzzer finds, the parser gives a frame or the one allowed error, the decoder's header says the same size,
and the keys stay below their prefixes.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import atheris
import simplejpeg

with atheris.instrument_imports(include=["contract"]):
    from contract import Frame, FrameError, Position, identify

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def one_input(data: bytes) -> None:
    """Parses a record and names it."""
    position = Position("shardId-000000000000", "42", data[:256].decode("latin-1") or "k", NOON)
    metadata = None
    try:
        frame = Frame.parse(data)
    except FrameError:
        pass
    else:
        metadata = frame.metadata
        check_size(frame)
    identity = identify(metadata, position)
    for key, prefix in ((identity.key, "frames/"), (identity.quarantine_key, "quarantine/")):
        if not key.startswith(prefix) or {"..", ".", ""} & set(key.split("/")):
            raise AssertionError(key)


def check_size(frame: Frame) -> None:
    """Compares a frame's size with the decoder's, where it accepts the frame too."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(frame.jpeg, strict=False)
    except (ValueError, KeyError):  # KeyError: a sampling that it has no name for
        return
    if (width, height) != (frame.width, frame.height):
        raise AssertionError(f"{frame.width}x{frame.height} for the parser, {width}x{height} for the decoder")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

"""Files that are complete or are not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def complete(path: Path, suffix: str | None = None) -> Iterator[Path]:
    """Gives a path beside a file's to write to; what was written takes the file's place once it is whole.

    A pipe or a device is written to as it is.

    Args:
        suffix: Of the path that is given; None: the file's own.

    Raises:
        OSError: If that cannot be done; nothing is left then.
    """
    path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix if suffix is None else suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()

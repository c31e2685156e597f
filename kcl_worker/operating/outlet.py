"""Standard output and standard error, for which nobody waits.

Whoever reads them may be slow, or gone. A worker goes on all the same, and says afterwards how much of it is missing.
So the driver of a container's logs may block (`mode = blocking`): what waits for it waits here, where it is counted.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from typing import Final, Protocol

# An hour of metrics, or some ten seconds of the daemon's debug log; usually 2 MiB or so, at the most 16.
MAX_LINES: Final = 4096
# At the end, what is written still finds a reader who reads.
END_SECONDS: Final = 2.0


class Output(Protocol):
    """Where text goes; standard output is one."""

    def write(self, text: str, /) -> int:
        """Takes text; gives its length."""

    def flush(self) -> None:
        """Passes on what was taken."""


def warning(lines: int) -> dict[str, object]:
    """The fields of the line that tells how many are missing."""
    text = f"nobody read fast enough: {lines} lines were dropped"
    return {"level": "warning", "logger": __name__, "message": text}


class Outlet:
    """A stream whose `write` never blocks and never fails: a thread writes, and what finds no room is dropped.

    Args:
        stream: Where the thread writes.
        max_lines: So many lines wait for it.

    Attributes:
        tell: Makes the line that tells how many are missing; it is written as soon as somebody reads again.
    """

    def __init__(self, stream: Output, max_lines: int = MAX_LINES) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(max_lines)
        self._dropped = 0
        self._count = threading.Lock()
        self.tell: Callable[[int], dict[str, object]] = warning
        self._partial = ""
        self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Takes text; whole lines are written, in their order."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            try:
                self._lines.put_nowait(line)
            except queue.Full:
                self._drop(1)
        return len(text)

    def flush(self) -> None:
        """Does nothing: nobody waits."""

    def end(self, seconds: float = END_SECONDS) -> None:
        """Waits until all is written, but no longer than this."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            if not self._put(line):
                self._drop(1)
            # Only now is there a reader again.
            elif self._dropped and self._lines.empty():
                with self._count:
                    dropped, self._dropped = self._dropped, 0
                if not self._put(json.dumps(self.tell(dropped), separators=(",", ":"))):
                    self._drop(dropped)

    def _drop(self, lines: int) -> None:
        with self._count:
            self._dropped += lines

    def _put(self, line: str) -> bool:
        """Writes a line; False where the reader is gone."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True

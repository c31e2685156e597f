"""Up to which record a shard's work is done, while several records are at work at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kcl_worker.record import Place


class Prefix:
    """A shard's records in their order, and how many of the first are all done.

    Attributes:
        end: The last record that is done with all before it; None: there is none yet.
    """

    def __init__(self) -> None:
        self.end: Place | None = None
        self._entries: deque[_Entry] = deque()

    @contextmanager
    def working(self, place: Place) -> Iterator[None]:
        """Entered for each record in the shard's order; the record is done when the block ends without an error."""
        self._entries.append(entry := _Entry(place))
        yield
        entry.done = True
        while self._entries and self._entries[0].done:
            self.end = self._entries.popleft().place


@dataclass(slots=True)
class _Entry:
    place: Place
    done: bool = False

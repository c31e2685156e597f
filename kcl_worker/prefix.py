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
        self._entries: deque[Entry] = deque()

    @contextmanager
    def working(self, place: Place) -> Iterator[Entry]:
        """Entered for each record in the shard's order; the record is done when the block ends without an error, unless
        its entry is held."""
        self._entries.append(entry := Entry(place))
        yield entry
        entry.done = True
        self.advance()

    def advance(self) -> None:
        """Moves the end behind what is done by now; to be called when entries are not held any more."""
        while self._entries and self._entries[0].done and not self._entries[0].held:
            self.end = self._entries.popleft().place

    @property
    def idle(self) -> bool:
        """Whether no record is at work."""
        return all(entry.done for entry in self._entries)


@dataclass(slots=True, eq=False)
class Entry:
    """A record at work, or one that may be wanted again although it is done (`held`)."""

    place: Place
    done: bool = False
    held: bool = False

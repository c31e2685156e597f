"""Frames that nobody wants yet: an event that starts may want them as what came before it.

They are held in memory, and their shard's checkpoint is held in front of them. So a worker that dies loses none: the
next one reads them again, and holds them again.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Final

from kcl_worker.looked import Looked

logger = logging.getLogger(__name__)

# Of a track in a snapshot, measured: 3.5 KB.
STATE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class HeldFrame:
    """A frame that may still be stored.

    Attributes:
        clock: Of its source, in seconds.
    """

    clock: float
    looked: Looked

    @property
    def size(self) -> int:
        """Bytes, about: of the frame, and of the state of its tracks, which is kept as long as it is."""
        picture = self.looked.picture
        return len(self.looked.frame.jpeg) + len(picture.jpeg) + STATE_BYTES * (1 + len(picture.candidates))


class HeldMemory:
    """What the held frames of all shards of a task may take.

    Args:
        most: Bytes.

    Attributes:
        used: Bytes, also of frames that were taken and are not stored yet.
        shares: Bytes of the frames that a shard holds of a source, none left out.
    """

    def __init__(self, most: int) -> None:
        self.most, self.used, self._told = most, 0, False
        self.shares: dict[tuple[Held, str], int] = {}

    def fit(self) -> None:
        """Gives up frames as long as there are too many: the oldest of the source that holds the most, so that one
        camera takes the memory from no other."""
        while self.used > self.most and self.shares:
            shard, source = max(self.shares, key=lambda share: self.shares[share])
            shard.give_up(source)
            if not self._told:
                self._told = True
                logger.warning(
                    "%d MiB are too few for frames from before events; the oldest are given up",
                    self.most // 2**20, extra={"source": source},
                )  # fmt: skip


class Held:
    """The held frames of one shard, by source, in their order."""

    def __init__(self, memory: HeldMemory) -> None:
        self._memory = memory
        self._frames: defaultdict[str, deque[HeldFrame]] = defaultdict(deque)

    def add(self, held: HeldFrame, seconds: float) -> None:
        """Holds a frame; lets go what is older than these seconds, or more than there is memory for."""
        source = held.looked.identity.source
        frames = self._frames[source]
        held.looked.entry.held = True
        frames.append(held)
        self._memory.used += held.size
        self._share(source, held.size)
        while frames and frames[0].clock < held.clock - seconds:
            self.give_up(source)
        self._memory.fit()

    def give_up(self, source: str) -> None:
        """Lets go a source's oldest frame."""
        held = self._frames[source].popleft()
        self._share(source, -held.size)
        self._let_go(held)

    def take(self, source: str, since: float) -> list[HeldFrame]:
        """Gives the frames from a time of the source's clock on. They stay held until they are `done`."""
        frames = self._frames.pop(source, deque())
        self._memory.shares.pop((self, source), None)
        wanted = [held for held in frames if held.clock >= since]
        for held in frames:
            if held.clock < since:
                self._let_go(held)
        return wanted

    def done(self, frames: list[HeldFrame]) -> None:
        """Notes that frames which were taken are stored."""
        for held in frames:
            self._let_go(held)

    def sources(self) -> list[str]:
        """Those of which frames are held."""
        return list(self._frames)

    def clear(self, source: str) -> None:
        """Lets go a source's frames."""
        self._memory.shares.pop((self, source), None)
        for held in self._frames.pop(source, ()):
            self._let_go(held)

    def close(self) -> None:
        """Lets go all."""
        for source in list(self._frames):
            self.clear(source)

    def _share(self, source: str, size: int) -> None:
        shares, key = self._memory.shares, (self, source)
        shares[key] = shares.get(key, 0) + size
        if not shares[key]:
            del shares[key]

    def _let_go(self, held: HeldFrame) -> None:
        held.looked.entry.held = False
        self._memory.used -= held.size

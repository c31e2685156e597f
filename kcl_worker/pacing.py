"""Decides which of a shard's frames are looked at: before their turns, so that looks need not wait for each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from contract import Identity
from contract.source_settings import SourceSettings
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.record import Turn
from kcl_worker.tracking.pace import Pace, step
from kcl_worker.tracking.snapshots import Moment

Last = Callable[[str, Moment, str], Awaitable[Pace | None]]
"""Gives where a source's session stood after its last frame, as `SceneStore.pace` does."""


class _Chain:
    """The frames of a session that are at work; as long as one is, its last decision is known here."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.begun = False
        self.pace: Pace | None = None


class Step:
    """A frame's place among its session's frames.

    Attributes:
        pace: What was decided; None until then.
    """

    def __init__(self, chain: _Chain, turn: Turn, identity: Identity, last: Last) -> None:
        self._chain, self._turn, self._identity, self._last = chain, turn, identity, last
        self.pace: Pace | None = None

    async def is_looked_at(
        self, moment: Moment, wanted: SourceSettings, glance: Callable[[], Awaitable[bytes]]
    ) -> bool:
        """Decides whether a frame is looked at, once it is decided of all frames before.

        Args:
            glance: Glances at the frame.

        Raises:
            FrameError: `undecodable`, or what the glance raises besides.
        """
        gate = wanted.detect.every_still is not None
        pace = await self._decide(moment, wanted, await glance() if gate else b"")
        if pace.looks:
            return True
        # What nobody will decode may be no picture; nor may one be told of, together with others, that is none.
        if not gate and (wanted.tells or not wanted.stores_at_once(0)):
            await glance()
        return False

    async def _decide(self, moment: Moment, wanted: SourceSettings, glance: bytes) -> Pace:
        chain, identity = self._chain, self._identity
        async with self._turn:
            if not chain.begun:
                chain.pace = await self._last(identity.source, moment, identity.session)
                chain.begun = True
            at = identity.captured_at.timestamp()
            self.pace = chain.pace = step(chain.pace, wanted.detect, at, moment.arrived, glance)
        return self.pace

    async def leave(self) -> None:
        """Lets the frames after it be decided of, once it is decided of all before; what was decided stays."""
        async with self._turn:
            pass


class Pacing:
    """The sessions of one shard's sources.

    A frame holds its step until its turn is over. So a session without frames at work is where its last turn says.
    """

    def __init__(self, last: Last) -> None:
        self._last = last
        self._chains: WeakValueDictionary[tuple[str, str], _Chain] = WeakValueDictionary()

    def next(self, identity: Identity) -> Step:
        """The step of a frame; must be asked for in the order of the frames."""
        key = identity.source, identity.session
        chain = self._chains.get(key)
        if chain is None:
            self._chains[key] = chain = _Chain()
        return Step(chain, chain.turns.next(), identity, self._last)

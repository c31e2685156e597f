"""The work on one shard for as long as it is leased."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from kcl_worker.held import Held
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.pacing import Pacing
from kcl_worker.prefix import Prefix
from kcl_worker.record import Outcome, Place, Record, Turn, place_of
from kcl_worker.tracking.scene_store import SceneStore
from kcl_worker.tracking.snapshots import number_of

if TYPE_CHECKING:
    from kcl_worker.pipeline import Pipeline


class LeasedShard:
    """The work on one shard for as long as it is leased: the pipeline with the shard's sources.

    Attributes:
        scenes: What is known of its sources.
        held: Frames that an event may still want.
        pacing: Which frames are looked at.
    """

    def __init__(self, pipeline: Pipeline, shard_id: str, scenes: SceneStore, held: Held) -> None:
        self._pipeline, self._shard_id, self._prefix = pipeline, shard_id, Prefix()
        self.scenes, self.held, self.pacing = scenes, held, Pacing(scenes.pace)
        self._tellings: defaultdict[str, Turns] = defaultdict(Turns)
        self._adopted = not scenes.outlive
        # What is told without a frame is told before a state is stored that says so.
        self._telling = asyncio.Lock()

    async def process(self, record: Record) -> Outcome:
        """Gives a record's outcome once it is stored."""
        with self._prefix.working(place_of(record.position)) as entry:
            outcome = await self._pipeline.process(record, self, entry)
        self._settle()
        return outcome

    def order(self, source: str) -> Turn:
        """The next turn to tell something of a source; it is given within the turn of what is told."""
        return self._tellings[source].next()

    def is_due(self, now: float) -> bool:
        """Notes up to when the shard was read, in seconds; gives whether `rest` has anything to do then.

        A shard that is leased begins with it.
        """
        self.scenes.read_until = now
        return not self._adopted or bool(self._due(now)) or bool(self._silent(now))

    async def rest(self, turn: Callable[[], Turn], now: float) -> None:
        """Tells what the time completes: nothing else has arrived up to now, in seconds."""
        async with self._telling:
            if not self._adopted:
                await self.scenes.adopt(self._pipeline.kin_of)
                self._adopted = True
            for source in self._due(now):
                await self.scenes.drop_if_elsewhere(source)
            told = []
            async with turn():
                for source in self._due(now):
                    wanted = self._pipeline.settings_of(source)
                    told.append((source, self.scenes.rest(source, now, wanted), wanted, self.order(source)))
                for source in self._silent(now):
                    self.held.clear(source)
                self._prefix.advance()
                self._settle()
            for source, its, wanted, order in told:
                await self._pipeline.telling.tell(source, its, wanted, order)

    def close(self) -> None:
        """No record follows: what is held waits for nothing any more."""
        self.held.close()
        self._prefix.advance()
        self._settle()

    async def save(self) -> Place | None:
        """Stores the sources as of the last record that is done with all before it; gives its place."""
        async with self._telling:
            self._settle()
            place = self._prefix.end
            await self.scenes.save()
        return place

    async def finish(self) -> None:
        """Nothing is left to do: the last checkpoint has stored all."""

    def _settle(self) -> None:
        if self._prefix.end:
            self.scenes.settle(number_of(self._prefix.end))

    def _due(self, now: float) -> list[str]:
        return self.scenes.due(now, self._pipeline.settings_of)

    def _silent(self, now: float) -> list[str]:
        return [source for source in self.held.sources() if self.scenes.is_silent(source, now)]

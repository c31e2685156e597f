"""The scenes of a leased shard, and their way from one lease to the next.

Tracks have a memory, and a lease can move at any time. So before a checkpoint, the worker stores the state of each
source's scene at that checkpoint, next to the state at the checkpoint before. The next owner of the lease begins at one
of these two checkpoints, loads the matching state, and continues with the same ids.

A source can move to another shard, too: cameras are spread anew when one is added, and shards are split and merged. Its
next shard continues from its last frame where the same task holds both shards, else from the other shard's last
checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from contract.message import LineCount
from contract.source_settings import SourceSettings
from kcl_worker.storing.sinks import StateStore
from kcl_worker.tracking.scene import Scene, Shot
from kcl_worker.tracking.scene_archive import SceneArchive
from kcl_worker.tracking.snapshots import Moment, SequenceNumber, Snapshot, last_before
from kcl_worker.tracking.tracker import load_library

logger = logging.getLogger(__name__)

MAX_SERIES: Final = 16


@dataclass(slots=True)
class _Live:
    """A source's scene, with its snapshots from the last durable frame on, and the latest series that it has seen."""

    scene: Scene
    threshold: float
    trail: deque[Snapshot]
    saved: Snapshot | None
    series: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_SERIES))


class SceneStore:
    """The scenes of one shard while it is leased.

    Args:
        store: Keeps texts by their names; None if nothing is tracked.
        held: The scenes of all shards that this task holds, by shard.
    """

    def __init__(self, store: StateStore | None, shard_id: str, held: Mapping[str, SceneStore] | None = None) -> None:
        self._archive = SceneArchive(store, shard_id) if store else None
        self._shard_id, self._held = shard_id, {} if held is None else held
        self._live: dict[str, _Live] = {}
        self._durable: SequenceNumber = (-1, 0)

    async def add(
        self, source: str, moment: Moment, shot: Shot, settings: SourceSettings, threshold: float
    ) -> tuple[list[str | None], tuple[LineCount, ...]]:
        """Adds a frame to its source's scene: as `Scene.add`. Frames of a source must come in their order.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        live = self._live.get(source)
        if live is None or moment.series not in live.series:
            live = self._live[source] = await self._begin(source, moment, threshold, live)
            live.series.append(moment.series)
        if live.threshold != threshold:
            live.scene, live.threshold = Scene.from_state(live.scene.state(), threshold), threshold
        seen = live.scene.add(shot, settings)
        live.trail.append(Snapshot(**dict(moment), scene=live.scene.state()))
        self._trim(live)
        return seen

    def last(self, source: str) -> Snapshot | None:
        """A source's scene after its last frame here."""
        live = self._live.get(source)
        return live.trail[-1] if live and live.trail else None

    def settle(self, durable: SequenceNumber) -> None:
        """Notes up to which frame of the shard all are stored."""
        self._durable = durable

    async def save(self) -> None:
        """Stores the scenes as of the last durable frame, those that have changed since the last time.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        changed = {}
        for source, live in self._live.items():
            self._trim(live)
            now = live.trail[0] if live.trail else None
            if now is None or now is live.saved or (now.shard_id == self._shard_id and now.at > self._durable):
                continue
            changed[source] = [live.saved, now] if live.saved else [now]
            live.saved = now
        if self._archive and changed:
            await self._archive.save(changed)

    def _trim(self, live: _Live) -> None:
        """Drops snapshots from before the last durable frame."""
        while len(live.trail) > 1 and live.trail[1].at <= self._durable:
            live.trail.popleft()

    async def _begin(self, source: str, moment: Moment, threshold: float, live: _Live | None) -> _Live:
        """Continues a source's scene where its frames were before this one, in this shard or in another."""
        await asyncio.to_thread(load_library)
        last = await self._last_before(source, moment, live)
        if live and last is self.last(source):
            return live
        if last is not None:
            try:
                return _Live(Scene.from_state(last.scene, threshold), threshold, deque([last]), last)
            except ValueError as error:
                why = str(error).splitlines()[0]
                logger.warning("state of %s cannot be used, its tracks begin anew: %s", source, why)
        return _Live(Scene(threshold), threshold, deque(), None)

    async def _last_before(self, source: str, moment: Moment, live: _Live | None) -> Snapshot | None:
        """The newest snapshot from before a moment, wherever it is."""
        known = list(live.trail) if live else []
        if not live and self._archive:
            known = [*await self._archive.here(source)]
        last = last_before(moment, known)
        if last is not None and last.series == moment.series:
            if last.shard_id == self._shard_id and self._archive:
                self._archive.is_here(source)
            return last
        # The first one here, or the camera's session is new: it may have been elsewhere.
        known += filter(None, [shard.last(source) for shard in self._held.values() if shard is not self])
        if self._archive:
            known += await self._archive.elsewhere(source)
        return last_before(moment, known)

"""The scenes of a leased shard, and how they outlive its lease.

Tracks have a memory, and a lease can move at any time. So before a checkpoint, the state of each source's scene as of
that checkpoint is stored, beside the one of the checkpoint before. Whoever leases the shard next begins at one of the
two, takes the state that belongs to it, and goes on with the ids that the frames had, or would have had.
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import BaseModel, ValidationError

from kcl_worker.scene import Scene, SceneState
from kcl_worker.sinks import StateStore
from kcl_worker.tracker import load_library

logger = logging.getLogger(__name__)

SequenceNumber = tuple[int, int]
"""A sequence number and a sub-sequence number, which grow along a shard, and from a shard to its children."""


class Snapshot(BaseModel):
    """A scene after the frame at this place of the stream."""

    at: SequenceNumber
    scene: SceneState


class Snapshots(BaseModel):
    """What is stored of a source: the newest last."""

    snapshots: list[Snapshot]

    def before(self, sequence: SequenceNumber) -> Snapshot | None:
        """The newest that knows nothing of the frame at this place, nor of any behind it."""
        older = [snapshot for snapshot in self.snapshots if snapshot.at < sequence]
        return max(older, key=lambda snapshot: snapshot.at, default=None)


class Scenes:
    """The scenes of one shard, for as long as it is leased.

    Args:
        store: Keeps a text for each source; None where nothing is tracked.
    """

    def __init__(self, store: StateStore | None) -> None:
        self._store = store
        self._scenes: dict[str, Scene] = {}
        self._thresholds: dict[str, float] = {}
        self._at: dict[str, SequenceNumber] = {}
        self._saved: dict[str, Snapshot] = {}

    async def of(self, source: str, frame_id: str, at: SequenceNumber, threshold: float) -> Scene:
        """The scene that the source's frame at this place of the stream belongs to.

        Raises:
            ServiceError: If states are closed to us.
        """
        if source not in self._scenes:
            await asyncio.to_thread(load_library)
            self._scenes[source] = await self._load(source, frame_id, at, threshold)
        elif self._thresholds[source] != threshold:
            self._scenes[source] = Scene.from_state(self._scenes[source].state(), threshold)
        self._thresholds[source] = threshold
        self._at[source] = at
        return self._scenes[source]

    async def save(self) -> None:
        """Stores what has changed since the last time.

        Raises:
            ServiceError: If states are closed to us.
        """
        for source, at in self._at.items():
            before = self._saved.get(source)
            if self._store is None or (before and before.at == at):
                continue
            now = Snapshot(at=at, scene=self._scenes[source].state())
            both = Snapshots(snapshots=[before, now] if before else [now])
            await self._store.put(source, both.model_dump_json())
            self._saved[source] = now

    async def _load(self, source: str, frame_id: str, at: SequenceNumber, threshold: float) -> Scene:
        text = await self._store.get(source) if self._store else None
        if text is not None:
            try:
                snapshot = Snapshots.model_validate_json(text).before(at)
                if snapshot:
                    scene = Scene.from_state(snapshot.scene, threshold)
                    self._saved[source] = snapshot
                    return scene
            except (ValidationError, ValueError) as error:
                logger.warning("state of %s cannot be used, its tracks begin anew: %s", source, _first_line(error))
        return Scene(frame_id, threshold)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]

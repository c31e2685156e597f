"""What is stored of scenes, as texts under names.

A shard's scenes are one object, so that a checkpoint costs one request however many sources there are. A small object
says of each source which shard had it last, where its next shard finds its scene.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Final, TypeVar

from pydantic import ValidationError

from kcl_worker.storing.sinks import RENEW_SECONDS, StateStore
from kcl_worker.tracking.snapshots import ShardScenes, Snapshot, Whereabouts

logger = logging.getLogger(__name__)

# The bucket keeps objects for so long by default. A source whose last frame is older is forgotten.
FORGET_SECONDS: Final = 7 * 86400.0
# Of one shard, the latest: each checkpoint stores them.
MAX_STORED: Final = 2000
# Sources that move together come from a few shards: each of these is read once.
ELSEWHERE_SECONDS: Final = 1.0

Stored = TypeVar("Stored", ShardScenes, Whereabouts)


class SceneArchive:
    """The stored scenes of one shard, while it is leased, and those that sources have left in others.

    Args:
        store: Keeps the texts.
    """

    def __init__(self, store: StateStore, shard_id: str) -> None:
        self._store, self._shard_id = store, shard_id
        self._scenes: dict[str, list[Snapshot]] | None = None
        # When it was stored of sources that this shard has them, in seconds of a clock that never goes back.
        self._here: dict[str, float] = {}
        self._elsewhere: dict[str, tuple[float, ShardScenes]] = {}

    async def here(self, source: str) -> list[Snapshot]:
        """What is stored of a source in this shard.

        Raises:
            ServiceError: If access to states is forbidden; as the other methods.
        """
        return (await self._all()).get(source, [])

    async def of(self, shard_id: str) -> dict[str, list[Snapshot]]:
        """What is stored of a shard's sources."""
        if shard_id == self._shard_id:
            return await self._all()
        stored = await self._read(_shard(shard_id), ShardScenes)
        return stored.sources if stored else {}

    async def whereabouts(self, source: str) -> str | None:
        """The shard that had a source last; None if that is not known."""
        found = await self._read(_source(source), Whereabouts)
        return found.shard_id if found else None

    async def elsewhere(self, source: str) -> list[Snapshot]:
        """What another shard has stored of a source, if that one had it last."""
        whereabouts = await self._read(_source(source), Whereabouts)
        if whereabouts is None:
            return []
        if whereabouts.shard_id == self._shard_id:
            self.is_here(source)
            return []
        self._here.pop(source, None)
        shard_id, now = whereabouts.shard_id, time.monotonic()
        self._elsewhere = {shard: read for shard, read in self._elsewhere.items() if now - read[0] < ELSEWHERE_SECONDS}
        if shard_id not in self._elsewhere:
            self._elsewhere[shard_id] = now, await self._read(_shard(shard_id), ShardScenes) or ShardScenes()
        return self._elsewhere[shard_id][1].sources.get(source, [])

    def is_new_here(self, source: str) -> None:
        """Notes that this shard has a source again: its whereabouts are stored with its next state."""
        self._here.pop(source, None)

    def is_here(self, source: str) -> None:
        """Notes that this shard was the last to store a source: so its whereabouts are stored, too.

        Nobody knows since when. They are stored again within the usual time, but not those of all sources at once.
        """
        self._here.setdefault(source, time.monotonic() - random.uniform(0, RENEW_SECONDS))  # noqa: S311

    async def save(self, changed: dict[str, list[Snapshot]]) -> None:
        """Stores the changed sources beside the others."""
        self._scenes = _recent((await self._all()) | changed)
        scenes = ShardScenes.model_construct(sources=self._scenes)
        await self._store.put(_shard(self._shard_id), await asyncio.to_thread(scenes.model_dump_json))
        now = time.monotonic()
        new = {source for source in changed if now - self._here.get(source, -RENEW_SECONDS) >= RENEW_SECONDS}
        here = Whereabouts(shard_id=self._shard_id).model_dump_json()
        await asyncio.gather(*(self._store.put(_source(source), here) for source in new))
        self._here |= dict.fromkeys(new, now)

    async def _all(self) -> dict[str, list[Snapshot]]:
        if self._scenes is None:
            stored = await self._read(_shard(self._shard_id), ShardScenes)
            self._scenes = stored.sources if stored else {}
        return self._scenes

    async def _read(self, name: str, kind: type[Stored]) -> Stored | None:
        text = await self._store.get(name)
        if text is None:
            return None
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            logger.warning("state of %s cannot be used, its tracks begin anew: %s", name, str(error).splitlines()[0])
            return None


def _recent(scenes: dict[str, list[Snapshot]]) -> dict[str, list[Snapshot]]:
    by_age = sorted(scenes.items(), key=lambda named: named[1][-1].arrived, reverse=True)
    newest = by_age[0][1][-1].arrived
    return {
        source: snapshots
        for source, snapshots in by_age[:MAX_STORED]
        if snapshots[-1].arrived >= newest - FORGET_SECONDS
    }


def _shard(shard_id: str) -> str:
    return f"shards/{shard_id}"


def _source(source: str) -> str:
    return f"sources/{source}"
